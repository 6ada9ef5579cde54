"""TFLite files on Android phones and on boards: pushed, run, timed, compared.

    errors.py    what goes wrong, in one line
    images.py    patches from .npy files, turned, as a network takes them
    flatfile.py  what a TFLite file takes and returns, from its bytes
    bundle.py    what is to be run: a bundle's files, or bare ones
    shell.py     text for a device's shell, of which nothing is executed
    process.py   programs of this machine with time limits, that can be stopped
    target.py    what a device can do for us: run a command, take a file, give one back
    adb.py       a phone: `Target` by the adb command line
    ssh.py       a board: `Target` by the ssh command line
    facts.py     what a device is: model, processor, system
    state.py     how it is: battery, heat, clocks, free space
    store.py     files on the device, by the hash of their content
    tools.py     command lines of the benchmark tools
    parse.py     what they print
    litert_runner.py   what is run on a device that has Python and LiteRT
    python.py    LiteRT for Python on a device that has it
    plan.py      how devices are worked with, and what comes back
    programs.py  programs on a device, with time limits
    session.py   one device, from the first look to the last clean-up
    devices.py   which devices are asked for, and how each is worked with
    rows.py      all files with all settings, several devices side by side
    report.py    tables as plain text, and JSON
    command.py   the command line of benchmark_android.py

The standard library is all that is used here: `android_bench/benchmark_android.py` does
without mobileq's stack. Arrays are bytes in the order of numpy's C layout.
"""
