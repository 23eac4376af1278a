internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

extension FormatOperator {
    /// Why an operator is refused.
    struct Refusal: Error {
        let text: String
        init(_ text: String) { self.text = text }
    }

    /// An operator or, where its value is known already, that value.
    enum Parsed {
        case operation(FormatOperator)
        case literal(String)
    }

    /// Understands an operator's name and argument.
    static func parse(_ name: String, _ argument: String?) throws(Refusal) -> Parsed {
        if let plain = Plain(rawValue: name) {
            // Envoy takes an argument here that says whether blanks are kept; ours never hold any.
            let mayHaveArgument =
                plain == .RESPONSE_CODE_DETAILS || plain == .CONNECTION_TERMINATION_DETAILS
                || plain == .REQUESTED_SERVER_NAME
            if argument != nil, !mayHaveArgument { throw Refusal("%\(name)% takes no argument") }
            if plain == .HOSTNAME { return .literal(Environment.hostName) }
            return .operation(.plain(plain))
        }
        switch name {
        case "REQ", "REQUEST_HEADER": return .operation(.request(try header(name, argument)))
        case "REQ_WITHOUT_QUERY": return .operation(.requestWithoutQuery(try header(name, argument)))
        case "RESP", "RESPONSE_HEADER": return .operation(.response(try header(name, argument)))
        case "TRAILER", "RESPONSE_TRAILER": return .operation(.trailer(try header(name, argument)))
        case "START_TIME", "START_TIME_LOCAL":
            return .operation(.startTime(try time(name, argument, isLocal: name.hasSuffix("_LOCAL"))))
        case "EMIT_TIME", "EMIT_TIME_LOCAL":
            return .operation(.emitTime(try time(name, argument, isLocal: name.hasSuffix("_LOCAL"))))
        case "COMMON_DURATION": return .operation(try commonDuration(argument))
        case "GRPC_STATUS": return .operation(.grpcStatus(try statusStyle(argument)))
        case "DYNAMIC_METADATA": return .operation(try metadata(.dynamic, name, argument))
        case "CLUSTER_METADATA": return .operation(try metadata(.cluster, name, argument))
        case "UPSTREAM_METADATA": return .operation(try metadata(.upstream, name, argument))
        case "METADATA":
            let parts = (argument ?? "").split(separator: ":", maxSplits: 1).map(String.init)
            guard parts.count == 2, let source = MetadataSource(rawValue: parts[0]) else {
                throw Refusal(
                    "%METADATA% needs a source and a namespace: %METADATA(ROUTE:com.example:key)%, with DYNAMIC, CLUSTER, "
                        + "UPSTREAM_HOST, ROUTE, VIRTUAL_HOST or LISTENER")
            }
            return .operation(try metadata(source, name, parts[1]))
        case "FILTER_STATE", "UPSTREAM_FILTER_STATE":
            let parts = (argument ?? "").split(separator: ":", maxSplits: 2).map(String.init)
            guard let key = parts.first else { throw Refusal("%\(name)% needs a key: %\(name)(key)%") }
            switch (parts.dropFirst().first, parts.count) {
            case (nil, _), ("PLAIN", 2), ("TYPED", 2): return .operation(.filterState(key, field: nil))
            case ("FIELD", 3): return .operation(.filterState(key, field: parts[2]))
            default: throw Refusal("%\(name)(\(argument ?? ""))%: after the key comes PLAIN, TYPED or FIELD:name")
            }
        case "ENVIRONMENT":
            guard let argument, !argument.isEmpty else {
                throw Refusal("%ENVIRONMENT% needs a variable: %ENVIRONMENT(HOME)%")
            }
            return .literal(Environment.variable(argument) ?? "-")
        case "PATH": return .operation(try path(argument))
        case "QUERY_PARAM":
            guard let argument, !argument.isEmpty else {
                throw Refusal("%QUERY_PARAM% needs a name: %QUERY_PARAM(page)%")
            }
            return .operation(.queryParameter(argument))
        case "QUERY_PARAMS":
            guard ["", "ORIG", "PATH", "ORIG_OR_PATH"].contains(argument ?? "") else {
                throw Refusal("%QUERY_PARAMS(\(argument ?? ""))% is not ORIG, PATH or ORIG_OR_PATH")
            }
            return .operation(.query)
        case "CEL", "TYPED_CEL":
            do throws(ConfigurationError) {
                return .operation(
                    .expression(
                        try CELCondition(text: argument ?? "", at: "%\(name)%"), isTyped: name == "TYPED_CEL"))
            } catch {
                throw Refusal("%\(name)(\(argument ?? ""))%: \(error.reason)")
            }
        default:
            if let tls = try tls(name, argument) { return .operation(tls) }
            throw Refusal("unknown command operator %\(name)% (a percent sign is written %%)")
        }
    }

    private static func header(_ name: String, _ argument: String?) throws(Refusal) -> Header {
        let parts = (argument ?? "").split(separator: "?", omittingEmptySubsequences: false).map(String.init)
        guard let first = parts.first, !first.isEmpty, parts.count <= 2, parts.allSatisfy({ isHeaderName($0) }) else {
            throw Refusal("%\(name)% needs a header name, or two: %\(name)(x-id?x-other)%")
        }
        return Header(field: FormatField(first), alternate: parts.count > 1 ? FormatField(parts[1]) : nil)
    }

    private static func isHeaderName(_ name: String) -> Bool {
        let bytes = name.hasPrefix(":") ? Array(name.utf8.dropFirst()) : Array(name.utf8)
        return !bytes.isEmpty
            && bytes.allSatisfy { byte in
                byte &- 48 < 10 || (byte | 0x20) &- 97 < 26 || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
    }

    private static func time(_ name: String, _ argument: String?, isLocal: Bool) throws(Refusal) -> TimeFormat {
        do throws(TimeFormat.Refusal) {
            return try TimeFormat(argument ?? "", isLocal: isLocal)
        } catch {
            throw Refusal("%\(name)(…)%: \(error.text)")
        }
    }

    private static func commonDuration(_ argument: String?) throws(Refusal) -> FormatOperator {
        let parts = (argument ?? "").split(separator: ":").map(String.init)
        guard parts.count == 2 || parts.count == 3, let from = Moment(rawValue: parts[0]),
            let to = Moment(rawValue: parts[1])
        else {
            throw Refusal(
                "%COMMON_DURATION% needs two moments out of DS_RX_BEG, DS_RX_END, US_TX_BEG, US_TX_END, US_RX_BEG, "
                    + "US_RX_END, DS_TX_BEG, DS_TX_END: %COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%")
        }
        switch parts.count > 2 ? parts[2] : "ms" {
        case "ms": return .commonDuration(from: from, to: to, perSecond: 1000)
        case "us": return .commonDuration(from: from, to: to, perSecond: 1_000_000)
        case "ns": return .commonDuration(from: from, to: to, perSecond: 1_000_000_000)
        default: throw Refusal("%COMMON_DURATION%: the precision is ms, us or ns")
        }
    }

    private static func statusStyle(_ argument: String?) throws(Refusal) -> StatusStyle {
        switch argument {
        case nil, ""?, "CAMEL_STRING"?: return .camel
        case "SNAKE_STRING"?: return .snake
        case "NUMBER"?: return .number
        default: throw Refusal("%GRPC_STATUS%: the style is CAMEL_STRING, SNAKE_STRING or NUMBER")
        }
    }

    private static func metadata(
        _ source: MetadataSource, _ name: String, _ argument: String?
    ) throws(Refusal) -> FormatOperator {
        let path = (argument ?? "").split(separator: ":").map(String.init)
        guard !path.isEmpty else { throw Refusal("%\(name)% needs a namespace: %\(name)(com.example:key)%") }
        return .metadata(source, path: path)
    }

    private static func path(_ argument: String?) throws(Refusal) -> FormatOperator {
        let parts = (argument ?? "").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let query = parts.first ?? ""
        let choice = parts.count > 1 ? parts[1] : ""
        guard ["", "WQ", "NQ"].contains(query), ["", "ORIG", "PATH", "ORIG_OR_PATH"].contains(choice), parts.count <= 2
        else { throw Refusal("%PATH% takes WQ or NQ, then ORIG, PATH or ORIG_OR_PATH: %PATH(NQ:ORIG)%") }
        return .path(withQuery: query != "NQ", original: choice != "PATH", current: choice != "ORIG")
    }

    private static func tls(_ name: String, _ argument: String?) throws(Refusal) -> FormatOperator? {
        let isUpstream = name.hasPrefix("UPSTREAM_")
        guard isUpstream || name.hasPrefix("DOWNSTREAM_"),
            let field = TLSField(rawValue: String(name.dropFirst(isUpstream ? 9 : 11)))
        else { return nil }
        let isTime = field == .peerValidFrom || field == .peerValidTo
        guard isTime || argument == nil else { throw Refusal("%\(name)% takes no argument") }
        return .tls(field, isUpstream: isUpstream, time: isTime ? try time(name, argument, isLocal: false) : nil)
    }
}
