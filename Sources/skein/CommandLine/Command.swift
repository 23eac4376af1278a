internal import IO

/// A flag of a command.
struct Flag: Sendable {
    /// Without dashes: `data-dir`.
    let name: String
    /// The letter of its short form.
    let short: Character?
    /// What stands for the value in the usage text; nil for a switch.
    let value: String?
    /// One line of help.
    let summary: String

    init(_ name: String, short: Character? = nil, value: String? = nil, _ summary: String) {
        self.name = name
        self.short = short
        self.value = value
        self.summary = summary
    }

    static let dataDirectory = Flag("data-dir", value: "DIR", "where state is kept (default /var/lib/skein)")
    static let runDirectory = Flag("run-dir", value: "DIR", "where sockets are (default /run/skein)")
    static let kubeconfig = Flag(
        "kubeconfig", value: "FILE", "serve the objects of that Kubernetes API, without an API of our own")
    static let files = Flag(
        "filename", short: "f", value: "FILE|DIR", "YAML or JSON to read; - is standard input; may be repeated")
    static let namespace = Flag("namespace", short: "n", value: "NAME", "the namespace (default \"default\")")
    static let output = Flag("output", short: "o", value: "FORMAT", "table, wide, json, yaml or name")
    static let selector = Flag(
        "selector", short: "l", value: "LABELS", "only objects with these labels: app=web,version!=v1")
    static let allNamespaces = Flag("all-namespaces", short: "A", "objects of all namespaces")
}

/// Something that `skein` can be told to do.
struct Command: Sendable {
    /// `up`, or two words: `image import`.
    let name: String
    /// Operands in the usage line.
    let operands: String
    /// One line of help.
    let summary: String
    /// More help, after the summary.
    let details: String
    let flags: [Flag]
    /// Whether it is left out of the overview.
    let isHidden: Bool
    /// Whether flags end at the first operand: what stands behind it is a program's.
    let takesProgram: Bool
    /// Does it; the exit status.
    let run: @Sendable (Invocation) throws(CommandError) -> Int32

    init(
        _ name: String, _ operands: String = "", _ summary: String, details: String = "", flags: [Flag] = [],
        isHidden: Bool = false, takesProgram: Bool = false,
        run: @escaping @Sendable (Invocation) throws(CommandError) -> Int32
    ) {
        self.name = name
        self.operands = operands
        self.summary = summary
        self.details = details
        self.flags = flags
        self.isHidden = isHidden
        self.takesProgram = takesProgram
        self.run = run
    }
}

/// Why a command did not do what it was told.
struct CommandError: Error, Sendable {
    /// What, where, and what to do about it.
    var message: String
    /// 1: failed; 2: wrong usage.
    var status: Int32 = 1

    init(_ message: String, status: Int32 = 1) {
        self.message = message
        self.status = status
    }

    init(_ error: SystemError) { self.init(error.description) }

    /// A wrong-usage error that says where help is; `run` leaves the small numbers to programs, as Docker does.
    static func usage(_ command: String, _ problem: String) -> CommandError {
        CommandError(
            "skein \(command): \(problem); see skein \(command) --help",
            status: command == "run" ? 125 : 2)
    }
}

/// A command line, taken apart.
struct Invocation: Sendable {
    /// Values by flag name, in the order given; an empty text for a switch.
    var values: [String: [String]] = [:]
    /// What is no flag.
    var operands: [String] = []

    /// The last value of the flag.
    func value(_ flag: Flag) -> String? { values[flag.name]?.last }
    /// Whether the flag stands there.
    func has(_ flag: Flag) -> Bool { values[flag.name] != nil }
    /// All values of the flag.
    func all(_ flag: Flag) -> [String] { values[flag.name] ?? [] }

    /// The data directory, absolute.
    var dataDirectory: String { absolute(value(.dataDirectory) ?? "/var/lib/skein") }
    /// The run directory, absolute.
    var runDirectory: String { absolute(value(.runDirectory) ?? "/run/skein") }

    private func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path }
        return (Environment.workingDirectory ?? "/") + "/" + path
    }
}

extension Command {
    /// Takes the words behind the command's name apart.
    ///
    /// `--flag value`, `--flag=value`, `-f value`, `-fvalue`, `-it` for `-i -t`; `--` ends flags.
    func parse(_ words: [String]) throws(CommandError) -> Invocation {
        var invocation = Invocation()
        var rest = words[...]
        while let word = rest.popFirst() {
            if word == "--" {
                invocation.operands += rest
                break
            }
            guard word.hasPrefix("-"), word != "-" else {
                invocation.operands.append(word)
                guard takesProgram else { continue }
                invocation.operands += rest
                break
            }
            let isLong = word.hasPrefix("--")
            // `-it` is `-i -t`.
            if !isLong, word.count > 2, let first = word.dropFirst().first,
                flags.contains(where: { $0.short == first && $0.value == nil }), word.dropFirst(2).first != "="
            {
                rest = ["-\(first)", "-\(word.dropFirst(2))"] + rest
                continue
            }
            let body = isLong ? word.dropFirst(2) : word.dropFirst(1)
            let equals = body.firstIndex(of: "=")
            let key = isLong ? body[..<(equals ?? body.endIndex)] : body.prefix(1)
            guard let flag = flags.first(where: { isLong ? $0.name == key : $0.short.map(String.init) == String(key) })
            else {
                throw CommandError.usage(name, "unknown flag \(isLong ? "--" : "-")\(key)")
            }
            var attached: String?
            if isLong, let equals { attached = String(body[body.index(after: equals)...]) }
            if !isLong, body.count > 1 { attached = String(body.dropFirst().drop { $0 == "=" }) }
            if flag.value == nil {
                guard attached == nil || attached == "true" || attached == "false" else {
                    throw CommandError.usage(name, "--\(flag.name) takes no value")
                }
                if attached != "false" { invocation.values[flag.name, default: []].append("") }
                continue
            }
            guard let value = attached ?? rest.popFirst() else {
                throw CommandError.usage(name, "--\(flag.name) needs a value")
            }
            invocation.values[flag.name, default: []].append(value)
        }
        return invocation
    }

    /// The words that are not a program's: up to `--`, or to the first operand where a program follows it.
    func wordsForUs(_ words: [String]) -> [String] {
        let ours = Array(words.prefix { $0 != "--" })
        guard takesProgram else { return ours }
        var count = 0
        while count < ours.count, ours[count].hasPrefix("-") {
            let word = ours[count]
            let key = word.drop { $0 == "-" }
            let flag = flags.first { word.hasPrefix("--") ? $0.name == key : $0.short.map(String.init) == String(key) }
            count += flag?.value == nil ? 1 : 2
        }
        return Array(ours.prefix(count))
    }

    /// The help text.
    var help: String {
        var text =
            "\(summary)\n\nUsage: skein \(name)\(flags.isEmpty ? "" : " [FLAGS]")\(operands.isEmpty ? "" : " \(operands)")\n"
        if !details.isEmpty { text += "\n\(details)\n" }
        if !flags.isEmpty {
            text += "\nFlags:\n"
            let left = flags.map { flag in
                "  \(flag.short.map { "-\($0), " } ?? "    ")--\(flag.name)\(flag.value.map { " \($0)" } ?? "")"
            }
            let width = left.map(\.count).max() ?? 0
            for (flag, usage) in zip(flags, left) {
                text += usage + String(repeating: " ", count: width - usage.count + 3) + flag.summary + "\n"
            }
        }
        return text
    }
}
