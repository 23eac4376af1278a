internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// How answers of the proxy's own look: Envoy's `local_reply_config`, compiled.
struct LocalReplyRules: Sendable {
    /// One `ResponseMapper`.
    private struct Mapper: Sendable {
        var filter: AccessLogFilterRule
        var status: UInt16?
        var body: [UInt8]?
        var format: SubstitutionFormat?
        var headers: [Upstream.HeaderMutation]
    }

    private var mappers: [Mapper] = []
    private let format: SubstitutionFormat?

    /// What is going to be answered.
    struct Reply {
        var status: UInt16
        var body: [UInt8]
        /// nil leaves it to whoever answers.
        var contentType: String?
        var headers: [Upstream.HeaderMutation] = []
    }

    init(compiling message: LocalReplyConfig, at path: String) throws(ConfigurationError) {
        format = try message.bodyFormat.map { format throws(ConfigurationError) in
            try SubstitutionFormat(compiling: format, at: path + ".body_format")
        }
        for (index, mapper) in message.mappers.enumerated() {
            let here = "\(path).mappers[\(index)]"
            guard let filter = mapper.filter else { throw ConfigurationError(at: here + ".filter", "is missing") }
            var status: UInt16?
            if let code = mapper.statusCode {
                guard (200..<600).contains(code) else {
                    throw ConfigurationError(at: here + ".status_code", "\(code) is not in 200 to 599")
                }
                status = UInt16(code)
            }
            mappers.append(
                Mapper(
                    filter: try AccessLogFilterRule(compiling: filter, at: here + ".filter"), status: status,
                    body: try mapper.body.map { body throws(ConfigurationError) in
                        try DataSourceText.bytes(body, at: here + ".body")
                    },
                    format: try mapper.bodyFormatOverride.map { format throws(ConfigurationError) in
                        try SubstitutionFormat(compiling: format, at: here + ".body_format_override")
                    },
                    headers: try Upstream.HeaderMutation.list(adding: mapper.headersToAdd, at: here + ".headers_to_add")
                ))
        }
    }

    /// Changes an answer; the first mapper whose filter passes, then the format.
    func rewrite<Context: FormatContext>(
        _ reply: inout Reply, _ context: Context, _ now: MonotonicTime, random: () -> UInt64
    ) {
        var chosen = format
        let moment = FormatMoment(type: .notSet, localReplyBody: reply.body, now: now)
        for mapper in mappers where mapper.filter.passes(context, moment, random: random) {
            if let status = mapper.status { reply.status = status }
            if let body = mapper.body { reply.body = body }
            if let format = mapper.format { chosen = format }
            reply.headers = mapper.headers
            break
        }
        guard let chosen else { return }
        var body: [UInt8] = []
        let now = FormatMoment(type: .notSet, localReplyBody: reply.body, now: now)
        // In a message of gRPC there are no lines.
        if context.isGRPC { chosen.append(context, now, to: &body) } else { chosen.appendLine(context, now, to: &body) }
        reply.body = body
        reply.contentType = chosen.contentType
    }
}
