internal import EnvoyAPI
internal import IO
internal import Upstream

/// A socket option of a listener (`socket_options`).
struct ListenerSocketOption: Sendable, Hashable {
    let option: IO.SocketOption
    /// Only for sockets of IPv6 (true) or of IPv4 (false); nil is both.
    let isV6: Bool?
}

extension ListenerConfig {
    /// The options that are for that kind of socket.
    static func socketOptions(
        _ options: [EnvoyAPI.SocketOption], isDatagram: Bool, at path: String
    ) throws(ConfigurationError) -> [ListenerSocketOption] {
        var result: [ListenerSocketOption] = []
        for (index, option) in options.enumerated() {
            let here = "\(path)[\(index)]"
            if let type = option.type, type.stream != nil || type.datagram != nil {
                guard isDatagram ? type.datagram != nil : type.stream != nil else { continue }
            }
            guard let level = Int32(exactly: option.level) else {
                throw ConfigurationError(at: here + ".level", "\(option.level) is none of this machine's")
            }
            guard let name = Int32(exactly: option.name) else {
                throw ConfigurationError(at: here + ".name", "\(option.name) is none of this machine's")
            }
            let value: [UInt8]
            switch option.value {
            case .intValue(let number):
                guard let small = Int32(exactly: number) else {
                    throw ConfigurationError(at: here + ".int_value", "\(number) has more than 32 bits")
                }
                value = withUnsafeBytes(of: small) { Array($0) }
            case .bufValue(let bytes): value = bytes
            case nil: throw ConfigurationError(at: here, "set int_value or buf_value")
            }
            let moment: IO.SocketOption.Moment
            switch option.state {
            case .statePrebind: moment = .beforeBind
            case .stateBound: moment = .bound
            case .stateListening: moment = .listening
            case .unrecognized(let number): throw ConfigurationError(at: here + ".state", "\(number) is no state")
            }
            let isV6: Bool?
            switch option.ipVersion {
            case .unspecified: isV6 = nil
            case .ipv4: isV6 = false
            case .ipv6: isV6 = true
            case .unrecognized(let number):
                throw ConfigurationError(at: here + ".ip_version", "\(number) is no version")
            }
            result.append(
                ListenerSocketOption(
                    option: IO.SocketOption(level: level, name: name, value: value, moment: moment, place: here),
                    isV6: isV6))
        }
        return result
    }
}
