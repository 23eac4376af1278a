import Serialization
import Testing

@testable import Insight

@Suite("Prometheus' API")
struct PrometheusAPITests {
    static let api: PrometheusAPI = {
        var store = SeriesStore()
        for tick in Int64(1000)..<1060 {
            store.append(Labels("up", ["job": "a"]), .gauge, tick: tick, 1)
            store.append(Labels("up", ["job": "b"]), .gauge, tick: tick, 0.5)
        }
        return PrometheusAPI(store, now: 10_595_000)
    }()

    static func ask(_ path: String, _ parameters: [(String, String)]) throws -> (UInt16, String) {
        let answer = try #require(api.answer(path, parameters.map { (name: $0.0, value: $0.1) }))
        return (answer.status, answer.json.text)
    }

    @Test("answers have Prometheus' shapes")
    func shapes() throws {
        #expect(
            try Self.ask("query", [("query", "up > 0.7")]).1
                == #"{"data":{"result":[{"metric":{"__name__":"up","job":"a"},"value":[10595,"1"]}],"resultType":"vector"},"status":"success"}"#
        )
        #expect(try Self.ask("query", [("query", "1/0"), ("time", "5.5")]).1.contains(#"[5.5,"+Inf"]"#))
        #expect(
            try Self.ask("query_range", [("query", "sum(up)"), ("start", "10100"), ("end", "10160"), ("step", "1m")]).1
                .contains(#""result":[{"metric":{},"values":[[10100,"1.5"],[10160,"1.5"]]}],"resultType":"matrix""#))
        #expect(try Self.ask("series", [("match[]", "up{job=\"b\"}")]).1.contains(#"[{"__name__":"up","job":"b"}]"#))
        #expect(try Self.ask("labels", []).1.contains(#"["__name__","job"]"#))
        #expect(try Self.ask("label/job/values", []).1.contains(#"["a","b"]"#))
        #expect(try Self.ask("query", [("query", "up"), ("time", "1970-01-01T02:56:30Z")]).1.contains("10590"))
    }

    @Test("what is wrong is an error of Prometheus' form, and another path is none")
    func errors() throws {
        for (path, parameters) in [
            ("query", []), ("query", [("query", "up{")]), ("query", [("query", "up"), ("time", "x")]), ("series", []),
            ("query_range", [("query", "up"), ("start", "1"), ("end", "0"), ("step", "1")]),
            ("query_range", [("query", "up"), ("start", "1"), ("end", "2"), ("step", "0")]),
        ] as [(String, [(String, String)])] {
            let (status, text) = try Self.ask(path, parameters)
            #expect(status == 400 && text.contains(#""errorType":"bad_data""#), "\(path) \(parameters)")
        }
        #expect(Self.api.answer("admin/tsdb/delete_series", []) == nil)
    }
}
