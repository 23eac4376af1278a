import IO

/// How the simulated proxies are.
struct BenchOptions: Sendable {
    /// Where the control plane's discovery listens.
    var address = SocketAddress.ip(.v4(0x7F00_0001), port: 15_012)
    /// PEM files: the mesh's authority, and a client certificate with its key.
    var authority = ""
    var certificate = ""
    var key = ""
    /// How many, and how many services there are.
    var proxies = 10
    var services = 10
    /// How many services each uses; nil: all.
    var uses: Int?
    /// Of the random choice of services.
    var seed: UInt64 = 1

    struct Problem: Error, CustomStringConvertible {
        var description: String
    }

    static func read(_ arguments: [String]) -> Result<BenchOptions, Problem> {
        var options = BenchOptions()
        var rest = arguments[...]
        while let word = rest.popFirst() {
            guard let value = rest.popFirst() else { return .failure(Problem(description: "\(word) needs a value")) }
            var isGood = true
            func number(_ body: (Int) -> Void) {
                if let number = Int(value), number > 0 { body(number) } else { isGood = false }
            }
            switch word {
            case "--address":
                if let address = SocketAddress(value) { options.address = address } else { isGood = false }
            case "--ca": options.authority = value
            case "--certificate": options.certificate = value
            case "--key": options.key = value
            case "--proxies": number { options.proxies = $0 }
            case "--services": number { options.services = $0 }
            case "--uses": if value != "all" { number { options.uses = $0 } }
            case "--seed": number { options.seed = UInt64($0) }
            default: return .failure(Problem(description: "unknown flag \(word)"))
            }
            guard isGood else { return .failure(Problem(description: "\(word) \(value): not such a value")) }
        }
        return .success(options)
    }
}
