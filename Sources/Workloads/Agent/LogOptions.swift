internal import Serialization

/// Which lines of a container's log are wanted, as `kubectl logs` asks.
struct LogOptions: Sendable, Hashable {
    var tailLines: Int?
    var sinceTime: Timestamp?
    var hasTimestamps = false
    var isPrevious = false
    var isFollowing = false
    var limitBytes: Int?

    /// Ten thousand years: further back nothing was logged.
    private static let secondsMax = 315_360_000_000

    init() {}

    init(query: [(name: String, value: String)], now: Timestamp) {
        for (name, value) in query {
            switch name {
            case "tailLines": tailLines = Int(value).map { max(0, $0) }
            case "sinceTime": sinceTime = Timestamp(value)
            case "sinceSeconds":
                if let seconds = Int(value) { sinceTime = now + .seconds(-min(max(0, seconds), Self.secondsMax)) }
            case "timestamps": hasTimestamps = value == "true"
            case "previous": isPrevious = value == "true"
            case "follow": isFollowing = value == "true"
            case "limitBytes": limitBytes = Int(value).map { max(0, $0) }
            default: break
            }
        }
    }
}

/// Lines in the CRI log format: `TIME STREAM TAG TEXT`, where tag P says that the line goes on in the next.
struct LogReader: Sendable {
    let options: LogOptions

    /// What a piece of a log file (whole lines) shows.
    func render(_ bytes: ArraySlice<UInt8>, tail: Int?) -> [UInt8] {
        var shown: [ArraySlice<UInt8>] = []
        var times: [ArraySlice<UInt8>] = []
        var isPartial: [Bool] = []
        for line in bytes.split(separator: 0x0A) {
            let fields = line.split(separator: 0x20, maxSplits: 3, omittingEmptySubsequences: false)
            guard fields.count == 4 else { continue }
            if let since = options.sinceTime, let time = Timestamp(String(decoding: fields[0], as: UTF8.self)),
                time < since
            {
                continue
            }
            shown.append(fields[3])
            times.append(fields[0])
            isPartial.append(fields[2].first == UInt8(ascii: "P"))
        }
        var first = 0
        if let tail {
            // A line in several parts counts once.
            var lines = 0
            first = shown.count
            while first > 0 {
                if !isPartial[first - 1] { lines += 1 }
                if lines > tail { break }
                first -= 1
            }
        }
        var output: [UInt8] = []
        var isContinued = false
        for index in first..<shown.count {
            if options.hasTimestamps, !isContinued { output += Array(times[index]) + [0x20] }
            output += shown[index]
            isContinued = isPartial[index]
            if !isContinued { output.append(0x0A) }
        }
        if let limit = options.limitBytes { return Array(output.prefix(limit)) }
        return output
    }
}
