/// The syntax of names in Istio's kinds: hosts may begin with a wildcard, and letters may be large.
///
/// Functions that end in `Problem` return what is wrong, or `nil`.
enum IstioNames {
    /// Letters, digits and `-`, at most 63, with a letter or digit at both ends.
    static func isLabel(_ text: some StringProtocol) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count <= 63, let first = bytes.first, let last = bytes.last, isLetter(first), isLetter(last) else {
            return false
        }
        return bytes.allSatisfy { isLetter($0) || $0 == 0x2D }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }

    /// The name of a namespace, a subset, a port or a Gateway.
    static func labelProblem(_ text: String) -> String? {
        isLabel(text)
            ? nil : "must consist of letters, digits and '-', begin and end with a letter or digit, and have at most 63"
    }

    /// The name of a host, without wildcards.
    static func hostProblem(_ text: String) -> String? {
        isHost(text) ? nil : "must be the name of a host: letters, digits and '-', in parts with dots between"
    }

    /// The name of a host; its first part may be `*`, or begin with `*` or `*-`.
    static func patternProblem(_ text: String) -> String? {
        let wrong = "must be the name of a host, or * or *. before one"
        guard text.utf8.count <= 255, !text.isEmpty else { return wrong }
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard var first = parts.first else { return wrong }
        if first.hasPrefix("*"), first.utf8.count <= 63 {
            first = first.dropFirst(first.hasPrefix("*-") ? 2 : 1)
            guard first.isEmpty && parts.first == "*" || isLabel(first) else { return wrong }
        } else if !isLabel(first) {
            return wrong
        }
        return parts.count < 2 || isHost(parts[1]) ? nil : wrong
    }

    /// Parts with dots between, the last of which is no number; a dot at the end makes a name absolute.
    private static func isHost(_ text: some StringProtocol) -> Bool {
        guard text.utf8.count <= 255, !text.isEmpty else { return false }
        var parts = String(text).split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        if let last = parts.last, Int(last) != nil { return false }
        if parts.count > 1, parts.last == "" { parts.removeLast() }
        return parts.allSatisfy { isLabel($0) }
    }

    /// What ports of Istio's kinds speak.
    static let protocols = [
        "TCP", "UDP", "HTTP", "HTTP_PROXY", "HTTP2", "HTTPS", "TLS", "GRPC", "GRPC-WEB", "MONGO", "REDIS", "MYSQL",
    ]
    /// Those that are HTTP.
    static let httpProtocols = ["HTTP", "HTTP_PROXY", "HTTP2", "GRPC", "GRPC-WEB"]
    /// Those that are TLS.
    static let tlsProtocols = ["HTTPS", "TLS"]

    /// The path of a Unix socket, after `unix://`.
    static func socketProblem(_ rest: some StringProtocol) -> String? {
        if rest.hasPrefix("@") { return nil }
        if !rest.hasPrefix("/") { return "must be an absolute path or an abstract socket, unix://@name" }
        return rest.hasSuffix("/") ? "must not be a directory" : nil
    }

    /// The name of a header: a token, as HTTP says it.
    static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                isLetter(byte) || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
    }

    /// The text of a header that a proxy writes: `%NAME%` and `%NAME(…)%` stand for something, `%%` for a percent sign.
    static func headerTextProblem(_ text: String) -> String? {
        if text.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) {
            return "must not have control characters"
        }
        var rest = Array(text.utf8)[...]
        while let start = rest.firstIndex(of: 0x25) {
            rest = rest[(start + 1)...]
            if rest.first == 0x25 {
                rest = rest.dropFirst()
                continue
            }
            guard let after = Self.afterVariable(rest) else {
                return "has a '%' that neither begins nor ends a variable such as %HOSTNAME%; a percent sign is %%"
            }
            rest = after
        }
        return nil
    }

    /// What follows a variable whose first `%` has been read.
    private static func afterVariable(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let end = text.firstIndex(where: { $0 == 0x25 || $0 == 0x28 }) else { return nil }
        if text[end] == 0x25 { return text[(end + 1)...] }
        var rest = text[(end + 1)...]
        while let byte = rest.first, byte != 0x29 { rest = rest.dropFirst(byte == 0x5C ? 2 : 1) }
        // `)`, and how many characters at most (`:20`), before the last `%`.
        rest = rest.dropFirst().drop { $0 == 0x20 || $0 == 0x3A || (0x30...0x39).contains($0) }
        return rest.first == 0x25 ? rest.dropFirst() : nil
    }
}
