import EnvoyAPI
import HTTP
import IO
import Insight
import Mesh
import Serialization
import Testing

@testable import ControlPlane

@Suite("Spans that proxies report")
struct TraceServiceTests {
    private func request(_ spans: [OTLPSpan], service: String = "web.default") -> ExportTraceServiceRequest {
        var resource = OTLPResource()
        resource.attributes = [attribute("service.name", service)]
        var scope = ScopeSpans()
        scope.spans = spans
        var resourceSpans = ResourceSpans()
        resourceSpans.resource = resource
        resourceSpans.scopeSpans = [scope]
        var request = ExportTraceServiceRequest()
        request.resourceSpans = [resourceSpans]
        return request
    }

    private func attribute(_ name: String, _ value: String) -> OTLPKeyValue {
        var text = AnyValue()
        text.value = .stringValue(value)
        var attribute = OTLPKeyValue()
        attribute.key = name
        attribute.value = text
        return attribute
    }

    /// All spans begin together: a machine that stands still between two makes no trace longer.
    private let begin = UInt64(bitPattern: TraceService.now) &* 1_000_000

    private func span(_ id: UInt8, parent: UInt8? = nil, _ attributes: [(String, String)] = []) -> OTLPSpan {
        var span = OTLPSpan()
        span.traceId = Array(repeating: 7, count: 16)
        span.spanId = Array(repeating: id, count: 8)
        span.parentSpanId = parent.map { Array(repeating: $0, count: 8) } ?? []
        span.name = "egress"
        span.kind = .client
        span.startTimeUnixNano = Fixed64(rawValue: begin)
        span.endTimeUnixNano = Fixed64(rawValue: begin &+ 5_000_000)
        span.attributes = attributes.map { attribute($0.0, $0.1) }
        return span
    }

    @Test("a span is stored with its service and whose socket it came over; what a client sent is not kept")
    func taken() throws {
        let service = TraceService(on: try EventLoop())
        let answer = service.take(
            request([
                span(
                    1,
                    [
                        ("http.url", "http://shop/books/1?card=geheim"), ("user_agent", "geheim"),
                        ("http.method", "GET"),
                    ]),
                span(2, parent: 1),
            ]), from: "default/web-1")
        #expect(answer.partialSuccess == nil)
        let id = TraceID(high: 0x0707_0707_0707_0707, low: 0x0707_0707_0707_0707)
        let view = try #require(service.store.trace(id))
        let json = view.json(isPublic: false)
        #expect(json["service"]?.string == "web.default" && json["path"]?.string == "/books/1")
        #expect(json["spans"]?.array?.compactMap { $0["pod"]?.string } == ["default/web-1", "default/web-1"])
        #expect(json["complete"]?.bool == true && json["durationMicroseconds"]?.int == 5_000)
        #expect(!json.text.contains("geheim"))
    }

    @Test("ATK-32 without login no attribute is shown that an operator added: it may hold a field's value")
    func hidden() throws {
        let service = TraceService(on: try EventLoop())
        _ = service.take(request([span(1, [("customer", "geheim"), ("http.status_code", "200")])]), from: "a/b")
        let view = try #require(service.store.trace(TraceID(high: 0x0707_0707_0707_0707, low: 0x0707_0707_0707_0707)))
        #expect(view.json(isPublic: false).text.contains("geheim"))
        let shown = view.json(isPublic: true).text
        #expect(!shown.contains("geheim") && shown.contains("http.status_code"))
    }

    @Test("spans without ids, and more than one may send, are refused with their number")
    func refused() throws {
        let service = TraceService(on: try EventLoop())
        var bad = span(1)
        bad.traceId = [1, 2]
        #expect(service.take(request([bad, span(2)]), from: "a/b").partialSuccess?.rejectedSpans == 1)
        let many = (0..<30_000).map { _ in span(3) }
        let rejected = service.take(request(many), from: "a/b").partialSuccess?.rejectedSpans ?? 0
        #expect(rejected > 9_000 && service.refused == UInt64(rejected))
        #expect(service.take(request([span(4)]), from: "a/other").partialSuccess == nil)
    }

    @Test("of a URL the path is kept, whatever its form")
    func paths() {
        for (url, path) in [
            ("http://a/b?c=d", "/b"), ("/b#c", "/b"), ("https://a", ""), ("", ""),
            ("a:b", "a:b"), ("/a://b?c", "/a://b"),
        ] { #expect(OTLPSpans.path(url) == path) }
    }
}
