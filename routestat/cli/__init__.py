"""What the commands share.

``runner``          runs a command: exit codes, one line per error; layers and orders given in words
``options``         command-line options that several commands have
``progress_bars``   progress bars on stderr
``output_folders``  output folders: checked before the work, complete or absent after it
``open_run``        the fitted chain of a report, or of a trace
``queries``         predictions of a chain after observed choices, for ``predict``
"""
