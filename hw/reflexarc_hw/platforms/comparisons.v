// Yosys makes of a < b and a >= b the carry chain of a difference. Of a > b and a <= b it makes that chain and a tree that looks whether the difference
// is 0: for 32 bits on an ECP5 39 to 51 more LUTs, behind the chain (seen with Yosys 0.70). The same questions, the other way round.

(* techmap_celltype = "$gt $le" *)
module turned_round (A, B, Y);
	parameter _TECHMAP_CELLTYPE_ = "";
	parameter A_SIGNED = 0;
	parameter B_SIGNED = 0;
	parameter A_WIDTH = 1;
	parameter B_WIDTH = 1;
	parameter Y_WIDTH = 1;
	input [A_WIDTH-1:0] A;
	input [B_WIDTH-1:0] B;
	output [Y_WIDTH-1:0] Y;
	generate
		if (_TECHMAP_CELLTYPE_ == "$gt")
			\$lt #(.A_SIGNED(B_SIGNED), .B_SIGNED(A_SIGNED), .A_WIDTH(B_WIDTH), .B_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) less (.A(B), .B(A), .Y(Y));
		else
			\$ge #(.A_SIGNED(B_SIGNED), .B_SIGNED(A_SIGNED), .A_WIDTH(B_WIDTH), .B_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) at_least (.A(B), .B(A), .Y(Y));
	endgenerate
endmodule
