internal import IO

/// The command line of `skein`: finds the command, its help, and turns errors into one line and an exit status.
enum CommandLineInterface {
    /// Everything `skein` can be told, in the order of the overview.
    static let commands: [Command] = [
        .up, .down, .status, .apply, .analyze, .get, .describe, .delete, .logs, .exec, .explain, .diff, .proxyStatus,
        .proxyConfig, .stat, .top, .edges, .graph, .query, .alerts, .plan, .dashboard, .traces, .tap,
        .register, .deregister, .services,
        .imageImport, .imageList, .kubeconfig, .certsList, .certsExpiry, .certsVerify, .certsRotate, .certsRecover,
        .certsWrite,
        .networkCreate, .networkList, .networkInspect, .networkConnect, .networkDisconnect, .networkRemove,
        .run, .ps, .stop, .rm, .backup, .restore, .dockerPlugin, .node, .nodeToken, .version, .completion,
        .controlPlane, .nameServer, .engineExec,
    ]

    /// Runs the command line; the exit status.
    static func run(_ arguments: [String]) -> Int32 {
        Signals.ignorePipe()
        let words = Array(arguments.dropFirst())
        do throws(CommandError) {
            return try dispatch(words)
        } catch {
            Console.error(error.message.hasSuffix("\n") ? error.message : error.message + "\n")
            return error.status
        }
    }

    private static func dispatch(_ words: [String]) throws(CommandError) -> Int32 {
        guard let first = words.first, first != "help" || words.count > 1, first != "-h", first != "--help" else {
            Console.out(overview)
            return words.isEmpty ? 2 : 0
        }
        if first == "--version" { return try Command.version.run(Invocation()) }
        let path = first == "help" ? Array(words.dropFirst()) : words
        guard let (command, rest) = find(path) else {
            let known = Set(commands.compactMap { $0.name.split(separator: " ").first }.map(String.init))
            if known.contains(path.first ?? "") {
                throw CommandError("skein \(path.joined(separator: " ")): unknown command; see skein --help", status: 2)
            }
            throw CommandError("skein: unknown command \"\(path.first ?? "")\"; see skein --help", status: 2)
        }
        if first == "help" || command.wordsForUs(rest).contains(where: { $0 == "--help" || $0 == "-h" }) {
            Console.out(command.help)
            return 0
        }
        return try command.run(try command.parse(rest))
    }

    /// The command that the words begin with (two-word names first) and the words behind it.
    private static func find(_ words: [String]) -> (Command, [String])? {
        for length in [2, 1] where words.count >= length {
            let name = words[..<length].joined(separator: " ")
            if let command = commands.first(where: { $0.name == name }) {
                return (command, Array(words.dropFirst(length)))
            }
        }
        return nil
    }

    private static var overview: String {
        var text = """
            skein runs applications of services on one machine: network, DNS, sidecar proxies, routing, from Kubernetes
            and Istio YAML.

            Usage: skein COMMAND [FLAGS] [OPERANDS]

            Commands:

            """
        let shown = commands.filter { !$0.isHidden }
        let width = shown.map(\.name.count).max() ?? 0
        for command in shown {
            text +=
                "  \(command.name)\(String(repeating: " ", count: width - command.name.count + 3))\(command.summary)\n"
        }
        return text + """

            skein COMMAND --help tells more. First steps:

              skein up -f examples/bookstore --images host
              curl http://127.0.0.1:8080/
              skein down

            """
    }
}
