# I(V) where the tip is, from -0.5 V to 0.5 V in 21 points, with the feedback held.
program "I(V)"

before = bias
hold feedback:
    repeat 21 times with n:
        set bias -500 mV + 50 mV * n
        wait 20 us
        i = mean of 32 samples of current
        emit "iv" bias, i
    set bias before
    wait 20 us
