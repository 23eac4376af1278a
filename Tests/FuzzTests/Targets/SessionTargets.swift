import HTTP

@testable import Proxy

extension FuzzTarget {
    /// What a browser brings to oauth2: cookies, the state of a callback, a sealed token, each in a line.
    static let oauth2 = FuzzTarget(
        "oauth2",
        words: [
            "; ", "=", "\"", "gcm.", "CodeVerifier.", "OauthNonce", "OauthHMAC=", "eyJ1cmwiOiJodHRwOi8vYSJ9", "://",
            "http",
            "@", "\\", "[::1]", "#", "?", ".", "\n",
        ], smoke: 3000
    ) { input in
        let lines = input.split(separator: 10, maxSplits: 2, omittingEmptySubsequences: false).map { Array($0) }
        let text = lines.map { String(decoding: $0, as: UTF8.self) }
        let secret = Array("hmac secret".utf8)
        var headers = HeaderTable()
        if (try? headers.append("cookie", text[0])) != nil {
            let cookies = RequestCookies(headers)
            cookies.write(to: &headers)
            let again = RequestCookies(headers)
            for (one, other) in zip(cookies.entries, again.entries) {
                try holds(one.name == other.name, "written and read again \(one.name) is \(other.name)")
            }
            try holds(Set(cookies.entries.map(\.name)).count == cookies.entries.count, "a name is there twice")
        }
        if text.count > 1 {
            if case .complete(let state) = OAuth2State(reading: text[1]) {
                try holds(!OAuth2Tokens.isOurs(state.token, secret: secret), "a token was forged: \(state.token)")
                try checkAddress(state.url)
            }
            try checkAddress(text[1])
        }
        if text.count > 2 {
            try holds(OAuth2Tokens.decrypt(text[2], secret: secret) == nil, "a sealed text was forged")
            if let opened = OAuth2Tokens.decryptLegacy(text[2], secret: secret) {
                try holds(opened.utf8.allSatisfy { $0 == 9 || ($0 >= 32 && $0 != 127) }, "a field that is none")
            }
            _ = OAuth2Tokens.expiry(of: text[2])
            try holds(
                OAuth2Tokens.escape(text[2]).utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "&") },
                "an escaped text that is none")
        }
    }
}

/// Where users may be led has a host of its own, without anything that a browser reads otherwise.
private func checkAddress(_ text: String) throws(Violation) {
    guard let url = AbsoluteURL(text) else { return }
    try holds(url.path.hasPrefix("/") && !url.path.contains("#"), "a path that is none: \(url.path)")
    let host = url.host
    try holds(!host.contains { "/@\\?#".contains($0) }, "a host that is none: \(host)")
    try holds(!url.isAllowed(["app.example"]) || host.lowercased() == "app.example", "\(text) is no app.example")
}
