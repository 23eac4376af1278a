import IO

/// A Corefile as a tree of words: what stands in a line, and the lines in braces behind it.
struct CorefileEntry: Hashable, Sendable {
    var words: [String]
    var line: Int
    var entries: [CorefileEntry] = []

    /// Lines of a file, and how deep braces may lie within braces.
    static let linesMax = 10_000
    static let depthMax = 4

    /// The entries of a text.
    static func parse(_ text: String) throws(DNSFormatError) -> [CorefileEntry] {
        var stack: [[CorefileEntry]] = [[]]
        var line = 0
        func failure(_ problem: String) -> DNSFormatError { DNSFormatError(description: "line \(line): \(problem)") }
        for text in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            line += 1
            guard line <= linesMax else { throw failure("more than \(linesMax) lines") }
            var words: [String] = []
            for word in try Self.words(text, failure) {
                switch word {
                case "{":
                    guard !words.isEmpty, stack.count <= depthMax else { throw failure("a brace in the wrong place") }
                    stack[stack.count - 1].append(CorefileEntry(words: words, line: line))
                    stack.append([])
                    words = []
                case "}":
                    if !words.isEmpty { stack[stack.count - 1].append(CorefileEntry(words: words, line: line)) }
                    words = []
                    guard stack.count > 1, let entries = stack.popLast(), var last = stack[stack.count - 1].popLast()
                    else { throw failure("a brace that closes nothing") }
                    last.entries = entries
                    stack[stack.count - 1].append(last)
                default: words.append(word)
                }
            }
            if !words.isEmpty { stack[stack.count - 1].append(CorefileEntry(words: words, line: line)) }
        }
        guard stack.count == 1 else { throw failure("a brace is not closed") }
        return stack[0]
    }

    /// The words of a line; those in quotes are one.
    private static func words(
        _ line: Substring, _ failure: (String) -> DNSFormatError
    ) throws(DNSFormatError) -> [String] {
        var words: [String] = []
        var word: String?
        var isQuoted = false
        for character in line {
            if character == "\"" {
                isQuoted.toggle()
                word = word ?? ""
            } else if isQuoted {
                word = (word ?? "") + String(character)
            } else if character == "#", word == nil {
                break
            } else if character.isWhitespace {
                if let done = word { words.append(done) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        guard !isQuoted else { throw failure("a quote is not closed") }
        if let word { words.append(word) }
        return words
    }
}

extension NameSettings {
    /// Plugins that say what is done here anyway, or concern another program's process.
    private static let implied: Set<String> = [
        "errors", "health", "ready", "prometheus", "loop", "reload", "loadbalance", "kubernetes", "bufsize", "whoami",
    ]

    mutating func read(corefile text: String, _ fallback: UpstreamGroup) {
        let blocks: [CorefileEntry]
        do throws(DNSFormatError) { blocks = try CorefileEntry.parse(text) } catch {
            return problem("Corefile, \(error.description)")
        }
        for block in blocks {
            var domains: [Name] = []
            for word in block.words {
                if let domain = domain(word, block.line) { domains.append(domain) }
            }
            for entry in block.entries { read(entry, domains, fallback) }
        }
    }

    private mutating func note(_ line: Int, _ text: String) { problem("Corefile, line \(line): \(text)") }

    /// The domain of a server block: `.:53`, `example.org`, `dns://example.org:53`.
    private mutating func domain(_ word: String, _ line: Int) -> Name? {
        var text = Substring(word)
        if text.hasSuffix(",") { text = text.dropLast() }
        if text.hasPrefix("dns://") { text = text.dropFirst(6) }
        if let colon = text.lastIndex(of: ":") {
            guard text[text.index(after: colon)...] == "53" else {
                note(line, "\(word): names are answered on port 53 only")
                return nil
            }
            text = text[..<colon]
        }
        if text == "." { return .root }
        guard !text.contains(where: { "{}$()/".contains($0) }), let name = Name(text), name != .root else {
            note(line, "\(word) is no domain (variables and snippets are not known)")
            return nil
        }
        return name
    }

    private mutating func read(_ entry: CorefileEntry, _ domains: [Name], _ fallback: UpstreamGroup) {
        let values = entry.words.dropFirst()
        switch entry.words.first ?? "" {
        case "forward": readForward(entry, domains, fallback)
        case "cache": readCache(entry)
        case "log":
            let named = values.compactMap { Name($0) }
            guard named.count == values.count, entry.entries.isEmpty else {
                return note(entry.line, "log: only domains may follow")
            }
            logs += (named.isEmpty ? domains : named).filter { !logs.contains($0) }
        case "autopath": usesShortcuts = true
        case "ratelimit":
            guard values.count == 1, let rate = values.first.flatMap({ Int($0) }), (0...1_000_000).contains(rate) else {
                return note(entry.line, "ratelimit: queries a second of one client are needed, 0 to 1000000")
            }
            clientRate = rate
        case let word where Self.implied.contains(word):
            // Whether a pod's name is looked up is the one thing in them that would change answers.
            for option in entry.entries where word == "kubernetes" && option.words != ["pods", "insecure"] {
                guard option.words.first != "fallthrough" else { continue }
                note(option.line, "kubernetes: \(option.words.joined(separator: " ")) is not done")
            }
        case let word: note(entry.line, "\(word) is not done")
        }
    }

    private mutating func readForward(_ entry: CorefileEntry, _ domains: [Name], _ fallback: UpstreamGroup) {
        let words = Array(entry.words.dropFirst())
        guard words.count >= 2, let from = words.first else {
            return note(entry.line, "forward: FROM and TO are needed")
        }
        var group = fallback
        group.servers = []
        var name: String?
        var authorities: String?
        var isForced = false
        var exceptions: [Name] = []
        for option in entry.entries {
            let values = Array(option.words.dropFirst())
            switch option.words.first ?? "" {
            case "tls_servername" where values.count == 1: name = values[0]
            case "tls" where values.isEmpty: break
            case "tls" where values.count == 1: authorities = values[0]
            case "force_tcp": isForced = true
            case "prefer_udp", "max_fails", "health_check", "expire", "max_concurrent": break  // As it is here anyway.
            case "policy" where values == ["sequential"]: group.rotates = false
            case "policy" where values == ["random"] || values == ["round_robin"]: group.rotates = true
            case "except":
                for value in values {
                    if let name = Name(value) {
                        exceptions.append(name)
                    } else {
                        note(option.line, "\(value) is no domain")
                    }
                }
            case let word: note(option.line, "forward: \(word) \(values.joined(separator: " ")) is not done")
            }
        }
        for word in words.dropFirst() {
            if word == "/etc/resolv.conf" {
                group.servers += fallback.servers
                continue
            }
            let isTLS = word.hasPrefix("tls://")
            let text = isTLS ? word.dropFirst(6) : word.hasPrefix("dns://") ? word.dropFirst(6) : Substring(word)
            guard let address = Self.address(text, port: isTLS ? 853 : 53) else {
                return note(
                    entry.line, "forward: \(word) is no server: addresses are needed, and /etc/resolv.conf is known")
            }
            let server = name ?? address.address?.description ?? ""
            group.servers.append(
                Upstream(
                    address,
                    isTLS ? .tls(serverName: server, authorities: authorities) : isForced ? .stream : .datagrams))
        }
        guard (1...Self.serversMax).contains(group.servers.count) else {
            return note(entry.line, "forward: 1 to \(Self.serversMax) servers are needed")
        }
        let parent = from == "." ? domains : Name(from).map { [$0] } ?? []
        guard !parent.isEmpty else { return note(entry.line, "forward: \(from) is no domain") }
        for domain in parent {
            set(domain, group)
            for exception in exceptions where exception.isWithin(domain) { set(exception, UpstreamGroup([])) }
        }
    }

    private mutating func readCache(_ entry: CorefileEntry) {
        func number(_ text: String) -> UInt32? { UInt32(text).flatMap { (0...86_400).contains($0) ? $0 : nil } }
        let words = Array(entry.words.dropFirst())
        if let word = words.first {
            guard words.count == 1, let ttl = number(word) else { return note(entry.line, "cache: seconds are needed") }
            plan.cache.ttlMax = ttl
            plan.cache.negativeTTLMax = min(plan.cache.negativeTTLMax, ttl)
        }
        for option in entry.entries {
            let values = Array(option.words.dropFirst())
            switch option.words.first ?? "" {
            case "success" where values.count == 2:
                // The number before is how many answers are kept: that has a bound of its own here.
                if let ttl = number(values[1]) {
                    plan.cache.ttlMax = ttl
                } else {
                    note(option.line, "cache: seconds are needed")
                }
            case "denial" where values.count == 2:
                if let ttl = number(values[1]) {
                    plan.cache.negativeTTLMax = ttl
                } else {
                    note(option.line, "cache: seconds are needed")
                }
            case "serve_stale" where values.count <= 1:
                guard let time = Self.duration(values.first ?? "1h") else {
                    note(option.line, "cache: serve_stale: a time such as 1h is needed")
                    continue
                }
                plan.cache.staleMax = time
            case "servfail" where values.count == 1:
                guard let time = Self.duration(values[0]), time <= .seconds(300) else {
                    note(option.line, "cache: servfail: a time up to 5m is needed")
                    continue
                }
                plan.cache.failureTTL = time
            case let word: note(option.line, "cache: \(word) \(values.joined(separator: " ")) is not done")
            }
        }
    }

    /// `1h`, `30m`, `10s`, `0`; at most a week.
    static func duration(_ text: String) -> Duration? {
        if text == "0" { return .zero }
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600]
        guard let unit = text.last.flatMap({ units[$0] }), let count = Int64(text.dropLast()), count >= 0,
            count <= 604_800 / unit
        else { return nil }
        return .seconds(count * unit)
    }
}
