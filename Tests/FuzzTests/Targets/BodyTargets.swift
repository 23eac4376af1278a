import Compression

@testable import Proxy

extension FuzzTarget {
    static let jwt = FuzzTarget(
        "jwt",
        words: [
            ".", "eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJub25lIn0", "{\"keys\":[", "\"kty\":\"RSA\"", "\"kty\":\"EC\"",
            "\"crv\":\"P-256\"", "\"n\":\"",
            "\"e\":\"AQAB\"", "\"alg\":\"none\"", "AAAA", "=", "_", "-",
        ], smoke: 2500
    ) { input in
        // A key set and a token in one input: behind the first line end stands the token.
        let parts = input.split(separator: 10, maxSplits: 1, omittingEmptySubsequences: false).map { Array($0) }
        let token = try? JSONWebToken(parsing: parts[parts.count - 1])
        if let token {
            try holds(token.signed.count + 1 < parts[parts.count - 1].count, "a token without a signature was taken")
        }
        guard let keys = try? JSONWebKeySet(parsing: parts[0]) else { return }
        try holds(keys.count <= JWTLimits.keys, "\(keys.count) keys")
        if let token { _ = keys.status(of: token) }
    }

    static let unpack = FuzzTarget("unpack", words: ["\u{1F}", "\u{0}\u{0}", "\u{3}"], smoke: 4000) { input in
        var random = FuzzRandom(of: input)
        let cuts = random.cuts(of: input.count)
        for kind in ["gzip", "br", "zstd"] {
            let whole = try unpacked(input, kind, cuts: [])
            let cut = try unpacked(input, kind, cuts: cuts)
            try holds(whole.bytes.count <= 100_000 && cut.bytes.count <= 100_000, "more than was asked for")
            if whole.failure == nil, cut.failure == nil {
                try holds(whole.bytes == cut.bytes, "cut into pieces it unpacks to something else")
            }
        }
    }
}

/// What an input unpacks to, given in pieces, up to 100,000 bytes.
private func unpacked(
    _ input: [UInt8], _ kind: String, cuts: [Int]
) throws(CompressionError) -> (bytes: [UInt8], failure: CompressionError?) {
    let decoder: any StreamDecoder =
        switch kind {
        case "gzip": try GzipDecoder(joinsMembers: true)
        case "br": try BrotliDecoder()
        default: try ZstdDecoder()
        }
    var output: [UInt8] = []
    var low = 0
    for high in cuts + [input.count] {
        let piece = Array(input[low..<high])
        low = high
        var failure: CompressionError?
        piece.withUnsafeBytes { bytes in
            do throws(CompressionError) {
                try decoder.decodeAll(bytes, upTo: 100_000 - output.count, into: &output)
            } catch { failure = error }
        }
        if let failure { return (output, failure) }
    }
    return (output, nil)
}
