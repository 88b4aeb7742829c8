# How fast the current falls with the distance: 100 pm away in ten steps, and back.
program "decay"

hold feedback, settle 20 us:
    repeat 11 times with n:
        height 10 pm * n at 1 um/s
        wait 20 us
        i = mean of 64 samples of current
        emit "iz" z, i
    height 0 m at 1 um/s
