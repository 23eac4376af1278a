/// A decoder under input that nobody meant: what it is called, and what must hold for every input.
struct FuzzTarget: Sendable {
    let name: String
    /// Pieces that mean something to it: mutations put them in.
    let words: [String]
    /// Inputs of a smoke run.
    let smoke: Int
    /// Throws a `Violation` when a promise is broken; what the decoder refuses is no violation.
    let run: @Sendable ([UInt8]) throws -> Void

    init(_ name: String, words: [String] = [], smoke: Int = 2000, _ run: @escaping @Sendable ([UInt8]) throws -> Void) {
        self.name = name
        self.words = words
        self.smoke = smoke
        self.run = run
    }

    static let all: [FuzzTarget] =
        [http1Requests, http1Responses, http2Server, http2Client, proxyHeader, clientHello, dns, x509]
        + [messages, json, yaml, bootstrap, formats, expressions, cel, paths, addresses, jwt, oauth2, unpack]
}

/// A promise that an input broke.
struct Violation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Breaks off when a promise does not hold.
func holds(_ condition: Bool, _ promise: @autoclosure () -> String) throws(Violation) {
    if !condition { throw Violation(promise()) }
}
