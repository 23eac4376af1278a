import Testing

@testable import Insight

/// Series of a test, every ten seconds from zero.
struct FixedSource: SampleSource {
    var all: [QuerySeries] = []

    mutating func add(_ labels: Labels, _ values: [Double], step: Int64 = 10_000) {
        all.append(QuerySeries(labels, values.enumerated().map { .init(Int64($0.offset) * step, $0.element) }))
    }

    func series(_ matchers: [LabelMatcher], from: Int64, to: Int64) -> [QuerySeries] {
        all.filter { series in matchers.allSatisfy { $0.fits(series.labels[$0.name]) } }.compactMap { series in
            let samples = series.samples.filter { $0.time >= from && $0.time <= to }
            return samples.isEmpty ? nil : QuerySeries(series.labels, samples)
        }
    }
}

@Suite("Queries")
struct QueryTests {
    static let source: FixedSource = {
        var source = FixedSource()
        for (code, pod, slope) in [("200", "a", 10.0), ("200", "b", 20), ("503", "a", 1)] {
            source.add(
                Labels("http_total", ["code": code, "pod": pod]), (0..<61).map { Double($0) * slope })
        }
        source.add(Labels("restarted_total"), (0..<61).map { Double($0 % 20) * 5 })
        source.add(Labels("temperature", ["pod": "a"]), (0..<61).map { 20 + Double($0 % 3) })
        source.add(Labels("temperature", ["pod": "b"]), (0..<61).map { _ in 30 })
        source.add(Labels("owner", ["pod": "a", "team": "red"]), Array(repeating: 1, count: 61))
        source.add(Labels("owner", ["pod": "b", "team": "blue"]), Array(repeating: 1, count: 61))
        for (bound, count) in [("0.1", 5.0), ("1", 9), ("+Inf", 10)] {
            source.add(Labels("t_bucket", ["le": bound]), (0..<61).map { Double($0) * count })
        }
        return source
    }()

    /// The answer at ten minutes and three seconds, in one line.
    static func ask(_ text: String) throws -> String {
        switch try QueryEngine(source).query(text, at: 603_000) {
        case .scalar(let value): return NumberText.fixed(value, 4)
        case .string(let text): return text
        case .vector(let elements):
            return elements.map { "\($0.labels.text)=\(NumberText.fixed($0.value, 4))" }.joined(separator: " ")
        case .matrix(let series): return series.map { "\($0.labels.text)#\($0.samples.count)" }.joined(separator: " ")
        }
    }

    @Test(
        "what a query says",
        arguments: [
            ("1 + 2 * 3 ^ 2", "19.0000"), ("-2 ^ 2", "-4.0000"), ("2 ^ 3 ^ 0", "2.0000"), ("7 % 4 - 1", "2.0000"),
            ("time()", "603.0000"), ("1 > bool 2", "0.0000"), ("0x1F", "31.0000"), ("vector(3)", "{}=3.0000"),
            ("scalar(temperature{pod=\"b\"})", "30.0000"),
            ("temperature{pod!=\"b\"}", "temperature{pod=\"a\"}=20.0000"),
            ("sum by (code) (rate(http_total[5m]))", "{code=\"200\"}=3.0000 {code=\"503\"}=0.1000"),
            ("sum without (code, pod) (http_total)", "{}=1860.0000"),
            ("avg(rate(http_total{code=~\"2..\"}[1m]))", "{}=1.5000"),
            ("topk(1, http_total)", "http_total{code=\"200\", pod=\"b\"}=1200.0000"),
            ("count(http_total) by (pod)", "{pod=\"a\"}=2.0000 {pod=\"b\"}=1.0000"),
            ("max_over_time(temperature{pod=\"a\"}[1m])", "{pod=\"a\"}=22.0000"),
            (
                "http_total offset 5m",
                "http_total{code=\"200\", pod=\"a\"}=300.0000 http_total{code=\"200\", pod=\"b\"}=600.0000 http_total{code=\"503\", pod=\"a\"}=30.0000"
            ),
            ("resets(restarted_total[10m])", "{}=3.0000"), ("absent(nothing{a=\"b\"})", "{a=\"b\"}=1.0000"),
            ("absent(temperature)", ""), ("temperature > 25", "temperature{pod=\"b\"}=30.0000"),
            ("temperature > bool 25", "{pod=\"a\"}=0.0000 {pod=\"b\"}=1.0000"),
            ("temperature and on(pod) http_total{code=\"503\"}", "temperature{pod=\"a\"}=20.0000"),
            ("temperature unless on(pod) http_total{code=\"503\"}", "temperature{pod=\"b\"}=30.0000"),
            ("http_total{code=\"503\"} / ignoring(code) http_total{code=\"200\"}", "{pod=\"a\"}=0.1000"),
            (
                "temperature * on(pod) group_left(team) owner",
                "{pod=\"a\", team=\"red\"}=20.0000 {pod=\"b\", team=\"blue\"}=30.0000"
            ),
            ("histogram_quantile(0.5, rate(t_bucket[5m]))", "{}=0.1000"),
            ("histogram_quantile(0.99, rate(t_bucket[5m]))", "{}=1.0000"),
            (
                "label_replace(temperature{pod=\"a\"}, \"x\", \"p-$1\", \"pod\", \"(.*)\")",
                "temperature{pod=\"a\", x=\"p-a\"}=20.0000"
            ),
            ("temperature[30s]", "temperature{pod=\"a\"}#3 temperature{pod=\"b\"}#3"),
            ("quantile(0.5, temperature)", "{}=25.0000"),
            ("round(temperature{pod=\"b\"} / 7, 0.1)", "{pod=\"b\"}=4.3000"),
            ("clamp(temperature, 21, 29)", "{pod=\"a\"}=21.0000 {pod=\"b\"}=29.0000"),
            ("temperature{pod=\"a\"} or temperature", "temperature{pod=\"a\"}=20.0000 temperature{pod=\"b\"}=30.0000"),
            ("- temperature{pod=\"b\"}", "{pod=\"b\"}=-30.0000"), ("# a comment\n 1", "1.0000"),
            ("irate(restarted_total[1m])", "{}=0.0000"),
            ("sum(http_total{pod=\"a\"}) by (pod) > 1", "{pod=\"a\"}=660.0000"),
        ])
    func answers(_ query: String, _ answer: String) throws {
        #expect(try Self.ask(query) == answer)
    }

    @Test(
        "what is not of the subset, or no query, is refused by its name",
        arguments: [
            ("rate(x[5m:1m])", "subqueries"), ("x @ 5", "@ is not"), ("predict_linear(x[5m], 3)", "not of this subset"),
            ("nonsense(x)", "no function"), ("x[5m", "] expected"), ("rate(x)", "takes a range vector"),
            ("{a=\"\"}", "not everything"), ("x{a=~\"(\"}", "a=~"), ("1 == 2", "needs bool"), ("x +", "expected"),
            ("", "an expression expected"), ("sum(x[5m])", "takes an instant vector"), ("'abc", "does not end"),
            ("5mx", "no number and no time"), ("x and 1", "is for vectors"),
            ("count_values(\"a\", x)", "not of this subset"),
            (String(repeating: "(", count: 200) + "1", "too deep"), ("x offset 5m offset 5m", "offset is for"),
        ])
    func refusals(_ query: String, _ reason: String) {
        let error = #expect(throws: QueryError.self) { try Self.ask(query) }
        #expect(error?.description.contains(reason) ?? false, "\(error?.description ?? "")")
        #expect(error?.kind == .badData)
    }

    @Test("many partners on both sides are an error of the samples")
    func manyToMany() {
        let error = #expect(throws: QueryError.self) { try Self.ask("http_total / on(code) http_total") }
        #expect(error?.kind == .execution)
    }

    @Test("a range query has a point for each step, and no more than 11,000")
    func range() throws {
        let series = try QueryEngine(Self.source).query(
            "sum(rate(http_total[1m]))", from: 100_000, to: 600_000, step: 50_000)
        #expect(series.count == 1 && series.first?.samples.count == 11)
        #expect(series.first?.samples.allSatisfy { abs($0.value - 3.1) < 1e-9 } ?? false)
        #expect(throws: QueryError.self) {
            try QueryEngine(Self.source).query("1", from: 0, to: 100_000_000, step: 1000)
        }
    }

    @Test("ATK-19 no text makes the parser fail in another way than by an error")
    func anything() {
        var numbers = Numbers(state: 5)
        let words = [
            "sum", "by", "(", ")", "rate", "x", "[", "5m", "]", "{", "}", "=", "=~", "\"a\"", "offset", "-", "1", ",",
            "or", "on", "bool", "^", "@", ":", "é", "'",
        ]
        for _ in 0..<3000 {
            let text = (0..<Int(numbers.next() % 14)).map { _ in words[Int(numbers.next() % UInt64(words.count))] }
            _ = try? QueryEngine(Self.source).query(text.joined(separator: " "), at: 603_000)
        }
    }

    @Test("a distribution is a histogram to queries")
    func distributions() throws {
        var store = SeriesStore()
        for tick in Int64(1000)..<1060 {
            var sketch = LatencySketch(.proxy)
            for value in [3.0, 7, 7, 40] { sketch.record(value) }
            store.append(Labels("d", ["edge": "1"]), tick: tick, sketch)
        }
        let engine = QueryEngine(store)
        func value(_ text: String) throws -> Double? {
            guard case .vector(let elements) = try engine.query(text, at: 10_593_000) else { return nil }
            return elements.first?.value
        }
        #expect(try value("d_count") == 240 && value("d_sum") == 57 * 60)
        #expect(try value("d_bucket{le=\"5\"}") == 60)
        #expect(abs((try value("rate(d_count[1m])") ?? 0) - 0.4) < 1e-9)
        #expect(abs((try value("histogram_quantile(0.5, sum by (le) (rate(d_bucket[5m])))") ?? 0) - 7.5) < 1e-6)
        #expect(abs((try value("rate(d_sum[1m]) / rate(d_count[1m])") ?? 0) - 14.25) < 1e-9)
    }
}
