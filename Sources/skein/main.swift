internal import IO

// Nothing but the way in: globals of main.swift belong to the main actor, everything else lives in functions.
Environment.exit(CommandLineInterface.run(CommandLine.arguments))
