@testable import Proxy

extension FuzzTarget {
    static let proxyHeader = FuzzTarget(
        "proxy-header",
        words: [
            "PROXY ", "TCP4 ", "TCP6 ", "UNKNOWN", "\r\n", "10.0.0.1 ", "::1 ", "\r\n\r\n\u{0}\r\nQUIT\n", "!",
            "\u{11}", " ",
        ],
        smoke: 6000
    ) { input in
        func parse(_ count: Int) -> ProxyHeaderParser.Verdict {
            Array(input.prefix(count)).withUnsafeBytes { ProxyHeaderParser.parse($0) }
        }
        let whole = parse(input.count)
        if case .header(let header, let bytes) = whole {
            try holds(bytes <= input.count, "a header of \(bytes) of \(input.count) bytes")
            try holds(header.tlvs.reduce(0) { $0 + 3 + $1.value.count } <= 65_535, "TLVs of more than 64 KiB")
        }
        var random = FuzzRandom(of: input)
        for count in random.cuts(of: input.count) {
            let part = parse(count)
            try holds(part == .undecided || part == whole, "the first \(count) bytes are \(part), all \(whole)")
        }
    }

    static let clientHello = FuzzTarget(
        "client-hello",
        words: ["\u{16}\u{3}\u{1}", "\u{0}\u{10}", "\u{0}\u{0}", "h2", "http/1.1", "a.example", "\u{0}"], smoke: 4000
    ) { input in
        var whole = ClientHelloParser()
        let verdict = input.withUnsafeBytes { whole.parse($0) }
        if case .hello(let hello) = verdict {
            let name = hello.serverName
            try holds(name.utf8.count <= 255, "a name of \(name.utf8.count) bytes")
            try holds(
                name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }, "a name that is no text: \(name.debugDescription)")
            try holds(name.utf8.allSatisfy { $0 < 0x41 || $0 > 0x5A }, "a name in capitals")
        }
        var random = FuzzRandom(of: input)
        var parser = ClientHelloParser()
        var last = ClientHelloParser.Verdict.undecided
        for count in random.cuts(of: input.count) + [input.count] {
            last = Array(input.prefix(count)).withUnsafeBytes { parser.parse($0) }
        }
        try holds(last == verdict, "in pieces \(last), in one \(verdict)")
    }
}
