import EnvoyAPI
import HTTP
import Serialization
import Synchronization

@testable import Proxy

/// A filter that does what a test says, and writes down what it sees.
final class FakeFilter: HTTPFilter {
    let name: String
    let interest: FilterInterest
    let trace: Trace
    var isTicking = false
    var onRequestHead: (HTTPStream, FakeFilter) -> FilterStep = { _, _ in .next }
    var onRequestBody: (HTTPStream, FakeFilter, inout BodyChunk, Bool) -> BodyStep = { _, _, _, _ in .next }
    var onRequestTrailers: (inout HeaderTable) -> Void = { _ in }
    var onResponseHead: (HTTPStream, FakeFilter) -> FilterStep = { _, _ in .next }
    var onResponseBody: (HTTPStream, FakeFilter, inout BodyChunk, Bool) -> BodyStep = { _, _, _, _ in .next }
    var onResponseTrailers: (inout HeaderTable) -> Void = { _ in }

    /// What all filters of a test saw, in order.
    final class Trace: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    init(_ name: String, _ trace: Trace, _ interest: FilterInterest) {
        self.name = name
        self.trace = trace
        self.interest = interest
    }

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        trace.add("\(name) head\(isEnd ? " end" : "")")
        return onRequestHead(stream, self)
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        if !chunk.isEmpty { trace.add("\(name) \(String(decoding: chunk.copy, as: UTF8.self))") }
        if isEnd { trace.add("\(name) end") }
        return onRequestBody(stream, self, &chunk, isEnd)
    }

    func requestTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep {
        trace.add("\(name) trailers")
        onRequestTrailers(&trailers)
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        trace.add("\(name) response \(stream.response.status)\(isEnd ? " end" : "")")
        return onResponseHead(stream, self)
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        if !chunk.isEmpty { trace.add("\(name) response \(String(decoding: chunk.copy, as: UTF8.self))") }
        if isEnd { trace.add("\(name) response end") }
        return onResponseBody(stream, self, &chunk, isEnd)
    }

    func responseTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep {
        trace.add("\(name) response trailers")
        onResponseTrailers(&trailers)
        return .next
    }

    func streamEnded(_ stream: HTTPStream) { trace.add("\(name) ended") }
}

/// Filters under names of a test's own: `UpstreamCodec` is their message, since no listener may hold that one.
enum FakeFilters {
    typealias Make = @Sendable (HTTPStream) -> FakeFilter

    private static let makers = Mutex<[String: Make]>([:])

    private struct Config: HTTPFilterConfig {
        let name: String
        let maker: Make
        func make(_ stream: HTTPStream) -> (any HTTPFilter)? { maker(stream) }
    }

    /// Registers a filter and gives its entry for `http_filters`.
    static func entry(_ name: String, _ make: @escaping Make) -> String {
        makers.withLock { $0[name] = make }
        HTTPFilters.testing.withLock {
            $0[UpstreamCodec.schema.name] = HTTPFilterKind(UpstreamCodec.self) { _, context in
                let maker = makers.withLock { $0[context.name] }
                return Config(name: context.name, maker: maker ?? { _ in FakeFilter("none", FakeFilter.Trace(), []) })
            }
        }
        return """
                      - name: \(name)
                        typed_config:
                          "@type": type.googleapis.com/\(UpstreamCodec.schema.name)

            """
    }
}
