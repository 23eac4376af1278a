import HTTP
import Testing
import Upstream

@testable import Proxy

@Suite("Trace propagation and sampling")
struct TracePropagationTests {
    private func headers(_ fields: [(String, String)]) throws -> HeaderTable {
        var table = HeaderTable()
        for (name, value) in fields { try table.append(name, value) }
        return table
    }

    @Test("traceparent and tracestate are read and written as W3C says")
    func w3c() throws {
        let table = try headers([
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ])
        let incoming = try #require(TracePropagation.w3c(table))
        #expect(incoming.traceHigh == 0x4bf9_2f35_77b3_4da6)
        #expect(incoming.traceLow == 0xa3ce_929d_0e0e_4736)
        #expect(incoming.span == 0x00f0_67aa_0ba9_02b7)
        #expect(incoming.isSampled == true)
        #expect(String(decoding: incoming.state, as: UTF8.self) == "a=1,b=2")
        var out = HeaderTable()
        TracePropagation.injectW3C(
            TraceContext(
                traceHigh: incoming.traceHigh, traceLow: incoming.traceLow, span: 7, parent: incoming.span,
                isSampled: false, state: incoming.state), into: &out)
        #expect(out["traceparent"] == "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-00")
        #expect(out["tracestate"] == "a=1,b=2")
    }

    @Test(
        "what is no traceparent is no trace",
        arguments: [
            "", "00", "00-0-0-0", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        ])
    func noTraceparent(text: String) { #expect(TracePropagation.traceparent(Array(text.utf8)) == nil) }

    @Test("B3 in several fields and in one")
    func b3() throws {
        let multi = try #require(
            TracePropagation.b3(
                try headers([
                    ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"), ("x-b3-spanid", "a2fb4a1d1a96d312"),
                    ("x-b3-parentspanid", "0020000000000001"), ("x-b3-sampled", "0"),
                ])))
        #expect(multi.traceHigh == 0x463a_c35c_9f64_13ad)
        #expect(multi.parent == 0x0020_0000_0000_0001)
        #expect(multi.isSampled == false)
        let single = try #require(
            TracePropagation.b3Single(
                Array("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d-05e3ac9a4f6e3b90".utf8)))
        #expect(single.isSampled == true)
        #expect(single.parent == 0x05e3_ac9a_4f6e_3b90)
        let short = try #require(TracePropagation.b3Single(Array("64fe8b2a57d3eff7-e457b5a2e4d86bd1".utf8)))
        #expect(short.traceHigh == 0)
        #expect(short.isSampled == nil)
        for text in ["0", "1", "x-y", "64fe8b2a57d3eff7-", "64fe8b2a57d3eff7-e457b5a2e4d86bd1-9"] {
            #expect(TracePropagation.b3Single(Array(text.utf8)) == nil)
        }
        var out = HeaderTable()
        TracePropagation.injectB3(
            TraceContext(traceHigh: 0, traceLow: 0xAB, span: 0xCD, parent: 0xEF, isSampled: true), into: &out)
        #expect(out["x-b3-traceid"] == "00000000000000ab")
        #expect(out["x-b3-spanid"] == "00000000000000cd")
        #expect(out["x-b3-parentspanid"] == "00000000000000ef")
        #expect(out["x-b3-sampled"] == "1")
    }

    private func decide(
        _ sampling: TraceSampling, _ id: String, client: Bool = false, forced: Bool = false
    ) -> (TraceSampling.Reason, String) {
        var bytes = Array(id.utf8)
        let reason = sampling.decide(requestID: &bytes, hasClientTraceID: client, isForced: forced)
        return (reason, String(decoding: bytes, as: UTF8.self))
    }

    @Test("the request id decides about samples and says what was decided")
    func sampling() {
        // 0x00000fa0 is 4000.
        let id = "00000fa0-1111-4111-8111-111111111111"
        #expect(decide(TraceSampling(random: 4001), id) == (.sampled, "00000fa0-1111-9111-8111-111111111111"))
        #expect(decide(TraceSampling(random: 4000), id) == (.notTraceable, id))
        #expect(
            decide(TraceSampling(random: 0), id, forced: true)
                == (.serviceForced, "00000fa0-1111-a111-8111-111111111111"))
        #expect(
            decide(TraceSampling(random: 0), id, client: true)
                == (.clientForced, "00000fa0-1111-b111-8111-111111111111"))
        #expect(decide(TraceSampling(client: 0, random: 0), id, client: true) == (.notTraceable, id))
        // Decided before us: kept, unless the overall share says no.
        let sampled = "00000fa0-1111-9111-8111-111111111111"
        #expect(decide(TraceSampling(random: 0), sampled) == (.sampled, sampled))
        #expect(decide(TraceSampling(overall: 4000), sampled) == (.notTraceable, id))
        #expect(decide(TraceSampling(), "no-uuid") == (.notTraceable, "no-uuid"))
    }

    @Test("OpenTelemetry's samplers")
    func samplers() {
        #expect(TraceProvider.Sampler.requestID.decide(parent: nil, traceLow: 1, requestID: true))
        #expect(!TraceProvider.Sampler.requestID.decide(parent: false, traceLow: 1, requestID: true))
        #expect(TraceProvider.Sampler.always.decide(parent: false, traceLow: 1, requestID: false))
        #expect(!TraceProvider.Sampler.parent(.always).decide(parent: false, traceLow: 1, requestID: true))
        #expect(TraceProvider.Sampler.parent(.always).decide(parent: nil, traceLow: 1, requestID: false))
        #expect(!TraceProvider.Sampler.ratio(0).decide(parent: true, traceLow: 1, requestID: true))
        #expect(TraceProvider.Sampler.ratio(.max).decide(parent: nil, traceLow: .max, requestID: false))
        var random = SplitMix64(seed: 1)
        let half = TraceProvider.Sampler.ratio(UInt64(1) << 62)
        let count = (0..<10_000).count { _ in half.decide(parent: nil, traceLow: random.next(), requestID: false) }
        #expect((4700...5300).contains(count))
    }
}
