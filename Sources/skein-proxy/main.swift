import IO
import Proxy
import Telemetry

// Wiring of flags only: everything else is in `Proxy`.

func explain(_ arguments: [String]) -> Int32 {
    do throws(UsageError) {
        let command = try ExplainCommand(arguments: arguments)
        return command.run(out: { Console.out($0) }, error: { Console.error($0) })
    } catch {
        Console.error("skein-proxy explain: \(error)\n")
        return 2
    }
}

func complete(_ shell: String) -> Int32 {
    guard let script = Completion.script(for: shell) else {
        Console.error("skein-proxy completion: say which shell: \(Completion.shells.joined(separator: ", "))\n")
        return 2
    }
    Console.out(script)
    return 0
}

func run() -> Int32 {
    let arguments = Array(CommandLine.arguments.dropFirst())
    if arguments.first == "explain" { return explain(Array(arguments.dropFirst())) }
    if arguments.first == "completion" { return complete(arguments.dropFirst().first ?? "") }
    let options: Options
    do throws(UsageError) {
        options = try Options(arguments: arguments)
    } catch {
        Console.error("skein-proxy: \(error)\n")
        return 2
    }
    if options.showsHelp {
        Console.out(Options.help)
        return 0
    }
    if options.showsVersion {
        Console.out("skein-proxy \(Product.version)\n")
        return 0
    }
    if let level = options.logLevel { Logger.level = level }
    Logger.componentLevels = options.componentLogLevels
    Logger.setFormat(options.logFormat)
    if let path = options.logPath, !Logger.open(path) {
        Console.error("skein-proxy: --log-path: \(path) cannot be opened\n")
        return 1
    }
    do throws(ProxyError) {
        if options.mode == .validate {
            for line in try ProxyServer.validate(options) { Console.out(line + "\n") }
            Console.out("configuration OK\n")
            return 0
        }
        // Before any thread starts: they inherit it, and the signals reach the control loop alone.
        Signals.block([Signals.terminate, Signals.interrupt, Signals.user1])
        let server = try ProxyServer(options)
        try server.handleSignals()
        try server.start()
        return options.mode == .initOnly ? 0 : server.run()
    } catch {
        Console.error("skein-proxy: \(error)\n")
        return 1
    }
}

Environment.exit(run())
