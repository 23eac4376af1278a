internal import Synchronization
internal import Telemetry

/// A counter for each status code, for requests from outside and from inside.
///
/// One add per response: classes (`upstream_rq_2xx`) and the number of complete responses are sums, made by the reader.
final class StatusCodeCells: Sendable {
    /// The codes that have a cell of their own: those in RFC 9110's registry, and those that proxies invented.
    static let codes: [UInt16] = [
        200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 100, 101, 102, 103, 300, 301, 302, 303, 304, 305, 307, 308,
        400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423,
        424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
    ]
    /// A server may answer with any number: those are counted under a lock, and there cannot be more than this many.
    private static let otherCodes: ClosedRange<UInt16> = 100...999
    private static let indexes: [UInt8] = {
        var table = [UInt8](repeating: UInt8(codes.count), count: 600)
        for (index, code) in codes.enumerated() { table[Int(code)] = UInt8(index) }
        return table
    }()

    private let block: MetricBlock
    /// Counts of codes without a cell, by code and origin.
    private let others = Mutex<[UInt16: (outside: UInt64, inside: UInt64)]>([:])

    init(rows: Int) { block = MetricBlock(count: Self.codes.count * 2, rows: rows) }

    func add(_ code: UInt16, isInternal: Bool = false, row: Int) {
        let index = Int(code) < Self.indexes.count ? Int(Self.indexes[Int(code)]) : Self.codes.count
        if index < Self.codes.count {
            block.add(isInternal ? index &+ Self.codes.count : index, row: row)
        } else if Self.otherCodes.contains(code) {
            others.withLock { $0[code, default: (0, 0)].0 &+= isInternal ? 0 : 1 }
            if isInternal { others.withLock { $0[code, default: (0, 0)].1 &+= 1 } }
        }
    }

    /// The codes that were counted.
    var counted: [(code: UInt16, outside: UInt64, inside: UInt64)] {
        var result: [(code: UInt16, outside: UInt64, inside: UInt64)] = []
        if block.isUsed {
            for (index, code) in Self.codes.enumerated() {
                let (outside, inside) = (block.value(index), block.value(index + Self.codes.count))
                if outside + inside > 0 { result.append((code, outside, inside)) }
            }
        }
        for (code, counts) in others.withLock({ $0 }) { result.append((code, counts.outside, counts.inside)) }
        return result.sorted { $0.code < $1.code }
    }

    func reset() {
        block.reset { _ in true }
        others.withLock { $0 = [:] }
    }

    /// `upstream_rq_200`, `upstream_rq_2xx`, `upstream_rq_completed`, each also under `external.` and `internal.`.
    func append(to samples: inout [MetricSample], _ prefix: String) {
        let counted = counted
        append(counted.map { ($0.code, $0.outside + $0.inside) }, "\(prefix).", isOptional: false, to: &samples)
        append(counted.map { ($0.code, $0.outside) }, "\(prefix).external.", isOptional: true, to: &samples)
        append(counted.map { ($0.code, $0.inside) }, "\(prefix).internal.", isOptional: true, to: &samples)
    }

    /// As `append`, without the origins.
    func appendSums(to samples: inout [MetricSample], _ prefix: String) {
        append(counted.map { ($0.code, $0.outside + $0.inside) }, "\(prefix).", isOptional: false, to: &samples)
    }

    private func append(
        _ counts: [(code: UInt16, count: UInt64)], _ prefix: String, isOptional: Bool, to samples: inout [MetricSample]
    ) {
        var classes: [UInt16: UInt64] = [:]
        var total: UInt64 = 0
        func add(_ name: String, _ count: UInt64) {
            samples.append(MetricSample(MetricName(masked: "\(prefix)upstream_rq_\(name)"), .counter(count)))
        }
        for (code, count) in counts where count > 0 {
            add("\(code)", count)
            classes[code / 100, default: 0] &+= count
            total &+= count
        }
        for (kind, count) in classes.sorted(by: { $0.key < $1.key }) { add("\(kind)xx", count) }
        if total > 0 || !isOptional { add("completed", total) }
    }
}
