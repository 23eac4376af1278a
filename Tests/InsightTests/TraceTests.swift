import Testing

@testable import Insight

@Suite("Traces")
struct TraceTests {
    /// A span at a time in milliseconds.
    static func span(
        _ trace: UInt64, _ id: UInt64, parent: UInt64? = nil, service: String = "web.default",
        kind: TraceSpan.Kind = .server, start: Int64 = 1_000, milliseconds: Int64 = 5, status: String = "200",
        flags: String = "-", more: [Label] = []
    ) -> TraceSpan {
        TraceSpan(
            trace: TraceID(high: 7, low: trace), id: id, parent: parent, name: "ingress", kind: kind, service: service,
            start: start * 1_000_000, duration: milliseconds * 1_000_000,
            attributes: [Label("http.status_code", status), Label("response_flags", flags)] + more)
    }

    /// What came of a trace that was quiet.
    private func reason(_ store: TraceStore, _ trace: UInt64) -> TraceStore.Reason? {
        store.entries[TraceID(high: 7, low: trace)]?.reason
    }

    @Test("an id is 32 or 16 digits, never zero")
    func ids() {
        #expect(TraceID("4bf92f3577b34da6a3ce929d0e0e4736")?.description == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(TraceID("A3CE929D0E0E4736")?.description == "0000000000000000a3ce929d0e0e4736")
        for text in [
            "", "0", String(repeating: "0", count: 32), "xyz92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6",
        ] {
            #expect((TraceID(text) == nil) == (text != "4bf92f3577b34da6"), "\(text)")
        }
        #expect(TraceID(bytes: Array(repeating: 0, count: 16)) == nil)
        #expect(SpanID.id(bytes: [1, 2, 3]) == nil)
    }

    @Test("a trace is decided when it is quiet: errors, the asked for, the slowest, a share of the others")
    func decisions() {
        var limits = TraceLimits()
        limits.slowest = 1
        limits.othersPerSecond = 2
        limits.othersInterval = .max
        var store = TraceStore(limits: limits)
        store.add(Self.span(1, 1, milliseconds: 50), at: 1_000)
        store.tick(2_000)
        #expect(reason(store, 1) == .pending)
        store.tick(13_000)
        #expect(reason(store, 1) == .slow)
        let asked = Label("guid:x-request-id", "f4d3a9f8-8b2e-b000-9c0d-000000000000")
        for trace in 2...6 as ClosedRange<UInt64> { store.add(Self.span(trace, 1), at: 14_000) }
        store.add(Self.span(7, 1, status: "503"), at: 14_000)
        store.add(Self.span(8, 1, flags: "UH"), at: 14_000)
        store.add(Self.span(9, 1, more: [asked]), at: 14_000)
        store.add(Self.span(10, 1, milliseconds: 60), at: 14_000)
        store.tick(26_000)
        #expect((2...6).map { reason(store, $0) } == [.share, .share, nil, nil, nil])
        #expect((7...10).map { reason(store, $0) } == [.error, .error, .asked, .slow])
        #expect(store.counts.dropped == 3 && store.counts.errors == 2 && store.counts.others == 2)
    }

    @Test("spans that come in any order, twice or late make the same trace")
    func order() throws {
        let spans = [
            Self.span(1, 1, service: "gateway", kind: .client, start: 1_000, milliseconds: 20),
            Self.span(1, 2, parent: 1, start: 1_002, milliseconds: 15),
            Self.span(1, 3, parent: 2, kind: .client, start: 1_003, milliseconds: 10),
            Self.span(1, 4, parent: 3, service: "catalog.default", start: 1_004, milliseconds: 8),
        ]
        var numbers = Numbers(state: 5)
        for _ in 0..<50 {
            var store = TraceStore()
            var rest = spans + spans
            while !rest.isEmpty { store.add(rest.remove(at: Int(numbers.next() % UInt64(rest.count))), at: 2_000) }
            let view = try #require(store.trace(TraceID(high: 7, low: 1)))
            #expect(view.rows.map(\.span.id) == [1, 2, 3, 4] && view.rows.map(\.depth) == [0, 1, 2, 3])
            #expect(view.summary.isComplete && view.summary.service == "gateway")
            #expect(view.summary.duration == 20_000_000 && store.counts.duplicates == 4)
        }
        var store = TraceStore()
        for span in spans.dropFirst() { store.add(span, at: 2_000) }
        #expect(try !#require(store.trace(TraceID(high: 7, low: 1))).summary.isComplete)
        store.tick(20_000)
        store.add(spans[0], at: 21_000)
        #expect(store.counts.late == 1)
        #expect(try #require(store.trace(TraceID(high: 7, low: 1))).summary.isComplete)
    }

    @Test("a late span that failed makes its trace an error, and brings one back that was not kept")
    func lateErrors() {
        var limits = TraceLimits()
        limits.slowest = 0
        limits.othersPerSecond = 1
        limits.othersInterval = .max
        var store = TraceStore(limits: limits)
        store.add(Self.span(1, 1), at: 1_000)
        store.add(Self.span(2, 1), at: 1_000)
        store.tick(20_000)
        #expect(reason(store, 1) == .share && reason(store, 2) == nil)
        store.add(Self.span(1, 2, parent: 1, status: "500"), at: 21_000)
        store.add(Self.span(2, 2, parent: 1), at: 21_000)
        #expect(reason(store, 1) == .error && reason(store, 2) == nil && store.counts.late == 2)
        store.add(Self.span(2, 3, parent: 1, status: "500"), at: 21_000)
        #expect(reason(store, 2) == .pending)
        store.tick(40_000)
        #expect(reason(store, 2) == .error)
    }

    @Test("clocks that differ are shown, not hidden")
    func skew() throws {
        var store = TraceStore()
        store.add(Self.span(1, 1, kind: .client, start: 1_000, milliseconds: 10), at: 2_000)
        store.add(Self.span(1, 2, parent: 1, start: 990, milliseconds: 5), at: 2_000)
        store.add(Self.span(1, 3, parent: 1, start: 1_008, milliseconds: 5), at: 2_000)
        let view = try #require(store.trace(TraceID(high: 7, low: 1)))
        let skews = Dictionary(uniqueKeysWithValues: view.rows.map { ($0.span.id, $0.skew / 1_000_000) })
        #expect(skews == [1: 0, 2: -10, 3: 3])
    }

    @Test("spans whose parents go round in a circle, or are not there, are all shown")
    func circles() throws {
        var store = TraceStore()
        store.add(Self.span(1, 1, parent: 2), at: 1_000)
        store.add(Self.span(1, 2, parent: 1), at: 1_000)
        store.add(Self.span(1, 3, parent: 3), at: 1_000)
        store.add(Self.span(1, 4, parent: 99), at: 1_000)
        let view = try #require(store.trace(TraceID(high: 7, low: 1)))
        #expect(Set(view.rows.map(\.span.id)) == [1, 2, 3, 4] && view.rows.count == 4)
    }

    @Test("what is wanted is found: service, time, status, flag, since")
    func questions() throws {
        var store = TraceStore()
        store.add(Self.span(1, 1, service: "web.default", start: 1_000, milliseconds: 5), at: 2_000)
        store.add(Self.span(2, 1, service: "catalog.shop", start: 3_000, milliseconds: 50, status: "404"), at: 4_000)
        store.add(
            Self.span(3, 1, service: "web.default", start: 5_000, milliseconds: 500, status: "503", flags: "UH,URX"),
            at: 6_000)
        func ask(_ parameters: (String, String)...) throws -> [UInt64] {
            let question = try TraceQuestion.read(parameters.map { (name: $0.0, value: $0.1) }, now: 10_000).get()
            return store.find(question).map(\.id.low)
        }
        #expect(try ask() == [3, 2, 1])
        #expect(try ask(("limit", "1")) == [3])
        #expect(try ask(("service", "web")) == [3, 1])
        #expect(try ask(("service", "catalog.shop")) == [2])
        #expect(try ask(("min", "20ms"), ("max", "0.1s")) == [2])
        #expect(try ask(("status", "5xx")) == [3] && ask(("status", "404")) == [2])
        #expect(
            try ask(("status", "error")) == [3] && ask(("status", "ok")) == [2, 1] && ask(("status", "urx")) == [3])
        #expect(try ask(("since", "8s")) == [3, 2] && ask(("since", "4")) == [3])
        for (name, value) in [("limit", "0"), ("min", "fast"), ("since", "-1"), ("colour", "red")] {
            #expect(throws: QueryError.self) { try ask((name, value)) }
        }
    }

    @Test("ATK-19 the limits hold whatever comes", arguments: 1...12 as ClosedRange<UInt64>)
    func bounds(_ seed: UInt64) {
        var numbers = Numbers(state: seed)
        var limits = TraceLimits()
        limits.bytes = 100_000
        limits.traces = 100
        limits.pending = 40
        limits.spansPerTrace = 10
        limits.attributes = 4
        limits.nameBytes = 16
        limits.valueBytes = 32
        limits.events = 2
        limits.remembered = 50
        limits.slowKeys = 10
        var store = TraceStore(limits: limits)
        var now: Int64 = 1_000
        for _ in 0..<5_000 {
            now += Int64(numbers.next() % 40)
            var span = Self.span(
                numbers.next() % (numbers.next() % 2 == 0 ? 5 : 400), numbers.next() % 30, parent: numbers.next() % 30,
                service: String(repeating: "ü", count: Int(numbers.next() % 40)), start: now,
                milliseconds: Int64(numbers.next() % 100), status: numbers.next() % 10 == 0 ? "500" : "200",
                more: (0..<Int(numbers.next() % 8)).map {
                    Label("\($0)", String(repeating: "x", count: Int(numbers.next() % 90)))
                })
            span.events = (0..<Int(numbers.next() % 5)).map { TraceSpan.Event("event \($0)", time: now) }
            if numbers.next() % 50 == 0 { span.start = Int64(bitPattern: numbers.next()) }
            store.add(span, at: now)
            if numbers.next() % 20 == 0 { store.tick(now) }
            #expect(store.bytes <= limits.bytes && store.count <= limits.traces)
        }
        let spans = store.entries.values.flatMap(\.spans)
        #expect(spans.reduce(0) { $0 + $1.bytes } == store.bytes)
        #expect(store.entries.values.allSatisfy { $0.spans.count <= limits.spansPerTrace })
        #expect(spans.allSatisfy { $0.attributes.count <= 4 && $0.events.count <= 2 && $0.service.utf8.count <= 16 })
        #expect(store.entries.values.count { $0.reason == .pending } <= limits.pending)
        let counts = store.counts
        #expect(counts.evicted > 0 && counts.excess > 0)
        #expect(counts.cutTexts > 0 && counts.cutAttributes > 0)
    }

    @Test("every error is kept while there is room for the errors", arguments: 1...8 as ClosedRange<UInt64>)
    func errorsStay(_ seed: UInt64) {
        var numbers = Numbers(state: seed)
        var limits = TraceLimits()
        limits.traces = 200
        limits.pending = 60
        var store = TraceStore(limits: limits)
        var errors: [UInt64] = []
        var now: Int64 = 1_000
        for trace in 1...4_000 as ClosedRange<UInt64> {
            now += 20
            let isError = trace % 40 == 0
            if isError { errors.append(trace) }
            store.add(
                Self.span(
                    trace, 1, start: now, milliseconds: Int64(numbers.next() % 500), status: isError ? "503" : "200"),
                at: now)
            if trace % 50 == 0 { store.tick(now) }
        }
        store.tick(now + 60_000)
        #expect(errors.allSatisfy { reason(store, $0) == .error })
        #expect(store.count <= limits.traces && store.counts.evicted > 1_000)
    }
}
