import Testing

@testable import Insight

/// The same numbers each time.
struct Numbers {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// From 0 up to 1.
    mutating func share() -> Double { Double(next() >> 11) / 9_007_199_254_740_992 }
}

@Suite("Time series")
struct SeriesTests {
    @Test(
        "a column of any numbers is read as it was written",
        arguments: [
            [], [0], [5, 5, 5, 5], [1, 2, 3, 1000, -7], [.max, .min, 0, 1], Array(repeating: 1_000_000, count: 120),
        ] as [[Int64]])
    func columns(_ values: [Int64]) throws {
        var bytes: [UInt8] = []
        ColumnCodec.encode(values, to: &bytes)
        bytes += [1, 2, 3]
        var rest = bytes[...]
        #expect(try #require(ColumnCodec.decode(values.count, &rest)) == values)
        #expect(Array(rest) == [1, 2, 3])
    }

    @Test("no bytes make the decoders of columns and files fail in another way than by saying so")
    func garbage() {
        var numbers = Numbers(state: 1)
        for _ in 0..<2000 {
            let bytes = (0..<Int(numbers.next() % 60)).map { _ in UInt8(truncatingIfNeeded: numbers.next()) }
            var rest = bytes[...]
            _ = ColumnCodec.decode(Int(numbers.next() % 200), &rest)
            var store = SeriesStore()
            _ = SeriesLog.decode(bytes) { _ = store.load($0) }
            for kind in [SeriesKind.counter, .proxyDistribution] {
                _ = store.load(.init(labels: Labels("x"), kind: kind, isCoarse: false, block: bytes))
            }
        }
    }

    @Test("a quantile of the sketch is within 1 % of the true one", arguments: [0.01, 0.5, 0.9, 0.99, 0.999])
    func sketch(_ share: Double) throws {
        var numbers = Numbers(state: 7)
        var sketch = LatencySketch()
        var values: [Double] = []
        for _ in 0..<20_000 {
            let value = 1 / (1.0001 - numbers.share()) * 0.3
            values.append(value)
            sketch.record(value)
        }
        values.sort()
        let rank = max(0, Int((share * Double(values.count)).rounded(.up)) - 1)
        let estimate = try #require(sketch.quantile(share))
        #expect(abs(estimate - values[rank]) <= values[rank] * 0.0101)
    }

    @Test("fine samples are there for a day, those of five minutes for longer, and both join")
    func tiers() throws {
        var store = SeriesStore()
        let labels = Labels("requests_total", ["a": "b"])
        let begin: Int64 = 3_000_000
        let ticks: Int64 = 12_000
        for offset in 0..<ticks {
            store.append(labels, .counter, tick: begin + offset, Double(offset * 3))
            if offset % 30 == 0 { store.sweep(now: begin + offset) }
        }
        let series = try #require(store.stored.first)
        let samples = store.samples(series, from: 0, to: .max)
        #expect(samples.last == .init((begin + ticks - 1) * 10_000, Double((ticks - 1) * 3)))
        #expect(zip(samples, samples.dropFirst()).allSatisfy { $0.time < $1.time && $0.value < $1.value })
        let fine = samples.filter { $0.time > (begin + ticks - 8640) * 10_000 }
        #expect(fine.count == 8639)
        let coarse = samples.filter { $0.time < (begin + ticks - 8640 - 900) * 10_000 }
        #expect(coarse.count > 60 && zip(coarse, coarse.dropFirst()).allSatisfy { $1.time - $0.time == 300_000 })
        #expect(samples.allSatisfy { $0.value == Double(($0.time / 10_000 - begin) * 3) })
    }

    @Test(
        "what was written down is there again, with what was not complete, and a file that was cut is read up to there")
    func files() throws {
        var store = SeriesStore()
        var log = SeriesLog()
        var file: [UInt8] = []
        let counter = Labels("c_total", ["le": "x\"y\n"])
        let times = Labels("t", ["edge": "1"])
        for tick in Int64(1000)..<1500 {
            store.append(counter, .counter, tick: tick, Double(tick) * 1.5)
            var sketch = LatencySketch(.proxy)
            sketch.add(UInt64(tick % 7), at: 3)
            sketch.add(2, at: 9)
            sketch.sum = 12.345
            store.append(times, tick: tick, sketch)
            for block in store.takeSealed() { file += log.encode(block) }
        }
        var heads = SeriesLog()
        let rest = store.unsealed.flatMap { heads.encode($0) }
        var again = SeriesStore()
        #expect(SeriesLog.decode(file) { _ = again.load($0) } == 0)
        #expect(SeriesLog.decode(rest) { _ = again.load($0) } == 0)
        for labels in [counter, times] {
            let old = try #require(store.stored.first { $0.labels == labels })
            let new = try #require(again.stored.first { $0.labels == labels })
            #expect(store.samples(old, from: 0, to: .max) == again.samples(new, from: 0, to: .max))
            #expect(old.total == new.total && old.totalSum == new.totalSum)
        }
        let sums = again.distributions("t", after: 1000, upTo: 1499, by: { _ in 0 })
        #expect(sums[0]?.sum.rounded() == (12.345 * 499).rounded())
        // The same blocks again are not new, and half of a record is none.
        var isNew = false
        _ = SeriesLog.decode(file) { isNew = isNew || again.load($0) }
        #expect(!isNew)
        #expect(SeriesLog.decode(Array(file.dropLast(5))) { _ in } > 0)
    }

    @Test("200 services with 400 edges at work take less than 100 MiB for 24 hours and 30 days")
    func memory() {
        var store = SeriesStore()
        var numbers = Numbers(state: 3)
        // One edge (5 of its 10 series do not change) is measured over a quarter of a day; its 400 brothers for 24 hours and as many coarse samples are reckoned.
        let labels = ["source_workload": "web", "destination_service": "catalog.default.svc.cluster.local"]
        var requests = 0.0
        var (sent, received) = (0.0, 0.0)
        for tick in Int64(3_000_000)..<3_002_160 {
            var sketch = LatencySketch(.proxy)
            for _ in 0..<(60 + Int(numbers.next() % 80)) {
                let value = 2 / (1.001 - numbers.share())
                sketch.record(value)
                requests += 1
                sent += 200 + Double(numbers.next() % 400)
                received += 1000 + Double(numbers.next() % 9000)
            }
            sketch.sum = (sketch.sum * 1000).rounded() / 1000
            store.append(Labels("skein_edge_requests_total", labels), .counter, tick: tick, requests)
            store.append(Labels("sent_total", labels), .counter, tick: tick, sent)
            store.append(Labels("received_total", labels), .counter, tick: tick, received)
            store.append(Labels("open", labels), .gauge, tick: tick, Double(numbers.next() % 8))
            for index in 0..<5 { store.append(Labels("quiet_\(index)", labels), .counter, tick: tick, 3) }
            store.append(Labels("times", labels), tick: tick, sketch)
        }
        let samples = store.stored.reduce(0) { $0 + $1.fine.bytes + $1.fineSteps.bytes }
        let perEdge = Double(samples) / 2160 * (8640 + 8640) + 10 * 1400
        #expect(perEdge * 400 < 100 * 1_048_576, "\(perEdge * 400 / 1_048_576) MiB")
    }

    @Test(
        "Istio's metrics are kept for an hour in steps of ten seconds and a day in steps of five minutes: 400 edges take less than 20 MiB"
    )
    func brief() throws {
        var store = SeriesStore()
        var numbers = Numbers(state: 5)
        let names = (0..<26).map { ("label_number_\($0)", "spiffe://cluster.local/ns/default/sa/\($0)") }
        let labels = Dictionary(uniqueKeysWithValues: names)
        var requests = 0.0
        let first: Int64 = 3_000_000
        for tick in first..<first + 1440 {
            var (times, sizes) = (LatencySketch(.proxy), LatencySketch(.proxy))
            for _ in 0..<(60 + Int(numbers.next() % 80)) {
                times.record(2 / (1.001 - numbers.share()))
                sizes.record(Double(200 + numbers.next() % 600))
                requests += 1
            }
            store.append(Labels("istio_requests_total", labels), .counter, tick: tick, requests)
            store.append(Labels("istio_request_duration_milliseconds", labels), tick: tick, times)
            store.append(Labels("istio_request_bytes", labels), tick: tick, sizes)
            store.append(Labels("istio_response_bytes", labels), tick: tick, sizes)
            store.append(Labels("skein_edge_requests_total"), .counter, tick: tick, requests)
            if tick % 30 == 0 { store.sweep(now: tick) }
        }
        store.sweep(now: first + 1440)
        let counter = try #require(store.stored.first { $0.labels.name == "istio_requests_total" })
        let kept = store.samples(counter, from: 0, to: .max)
        // Whole blocks go: a little more than an hour is there, and one number of each five minutes before.
        #expect(kept.count > 360 + 24 && kept.count < 900, "\(kept.count)")
        #expect(kept.contains { $0.time < SeriesStore.time(first + 600) })
        let edge = try #require(store.stored.first { $0.labels.name == "skein_edge_requests_total" })
        #expect(store.samples(edge, from: 0, to: .max).count == 1440)
        // Both reporters; of a day's coarse samples 48 of 288 are there.
        let standard = store.stored.filter(\.isBrief)
        let fine = standard.reduce(0) { $0 + $1.fine.bytes + $1.fineSteps.bytes }
        let coarse = standard.reduce(0) { $0 + $1.coarse.bytes + $1.coarseSteps.bytes }
        let heads = standard.reduce(0) { $0 + 1200 + $1.labels.pairs.count * 40 }
        let perEdge = 2 * (fine + coarse * 6 + heads)
        #expect(perEdge * 400 < 20 * 1_048_576, "\(Double(perEdge) * 400 / 1_048_576) MiB: \(fine) \(coarse) \(heads)")
    }

    @Test("ATK-19 more series than the limit, and labels without end, are refused and counted")
    func limits() {
        var limits = SeriesLimits()
        limits.seriesMax = 10
        var store = SeriesStore(limits)
        for index in 0..<30 { store.append(Labels("x", ["i": "\(index)"]), .gauge, tick: 5, 1) }
        store.append(Labels("y", ["i": String(repeating: "a", count: 5000)]), .gauge, tick: 5, 1)
        #expect(store.count == 10 && store.refused == 21)
    }

    @Test("beyond its memory the oldest samples go, and it is counted")
    func budget() {
        var limits = SeriesLimits()
        limits.bytesMax = 20_000
        var store = SeriesStore(limits)
        var numbers = Numbers(state: 9)
        for tick in Int64(0)..<8000 { store.append(Labels("x"), .gauge, tick: tick, numbers.share()) }
        store.sweep(now: 8000)
        #expect(store.bytes <= 20_000 && store.evictions > 0)
    }
}
