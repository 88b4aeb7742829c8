# Beside a scan: go to the first adatom that the threshold finds and pulse it until the current falls.
program "pulse adatoms"

event adatom: class 7, score z

hit = wait for adatom where hit.score > 50 pm, at most 2 s
otherwise:
    halt "nothing seen"
move to hit.x, hit.y at 1 um/s
wait 1 ms
hold feedback, settle 50 us:
    i0 = mean of 64 samples of current
    repeat 20 times:
        pulse 2.2 V for 10 us
        i1 = mean of 64 samples of current
        leave if i1 < 0.6 * i0
return
emit "pulsed" hit.x, hit.y, i0
