internal import EnvoyAPI
internal import HTTP
internal import Serialization

/// What an authorization service said, from whichever protocol.
struct CheckVerdict {
    enum Outcome: Equatable { case ok, denied, error }

    var outcome: Outcome
    /// The answer's status; nil leaves it to the filter.
    var status: UInt16?
    var body: [UInt8] = []
    /// Changes of the request where it passes, fields of the answer otherwise.
    var changes: [FieldChange] = []
    /// Changes of the response where the request passes.
    var responseChanges: [FieldChange] = []
    var queryToSet: [(key: String, value: String)] = []
    var queryToRemove: [String] = []
    var metadata: JSON?
    var isOverHTTP = false

    init(_ outcome: Outcome, status: UInt16? = nil) {
        self.outcome = outcome
        self.status = status
    }

    static var failed: CheckVerdict { CheckVerdict(.error) }

    /// Whether the request changes, so that another route may be the right one.
    var changesRequest: Bool { !changes.isEmpty || !queryToSet.isEmpty || !queryToRemove.isEmpty }

    // MARK: gRPC

    /// What a `CheckResponse` says.
    init(_ response: CheckResponse) {
        if case .errorResponse(let error)? = response.httpResponse {
            self.init(.error, status: Self.status(error.status))
            body = Array(error.body.utf8)
            changes = Self.answerFields(error.headers)
            return
        }
        guard (response.status?.code ?? 0) == 0 else {
            self.init(.denied, status: 403)
            metadata = response.dynamicMetadata
            guard case .deniedResponse(let denied)? = response.httpResponse else { return }
            status = Self.status(denied.status) ?? 403
            body = Array(denied.body.utf8)
            changes = Self.answerFields(denied.headers)
            return
        }
        self.init(.ok)
        metadata = response.dynamicMetadata
        guard case .okResponse(let ok)? = response.httpResponse else { return }
        metadata = metadata ?? ok.dynamicMetadata
        for option in ok.headers {
            guard let header = option.header, !header.key.isEmpty else { continue }
            changes.append(
                FieldChange(header.key, header.bytes, option.append ?? false ? .appendIfPresent : .set))
        }
        for name in ok.headersToRemove {
            let change = FieldChange(name, [], .remove)
            if !change.isPseudo && change.name != "host" { changes.append(change) }
        }
        responseChanges = ok.responseHeadersToAdd.compactMap { $0.change(standard: .append) }
        queryToSet = ok.queryParametersToSet.map { ($0.key, $0.value) }
        queryToRemove = ok.queryParametersToRemove
    }

    private static func status(_ status: HttpStatus?) -> UInt16? {
        guard let code = status?.code.rawValue, (200...599).contains(code) else { return nil }
        return UInt16(code)
    }

    private static func answerFields(_ options: [HeaderValueOption]) -> [FieldChange] {
        options.compactMap(\.change)
    }

    // MARK: HTTP

    /// What an HTTP answer says.
    init(_ answer: CallAnswer, _ rules: AuthorizationFields) {
        let head = answer.head
        guard head.status < 500 else {
            self.init(.error)
            return
        }
        if head.status == 200 {
            self.init(.ok)
            var added: [FieldChange] = []
            for index in 0..<head.headers.count {
                let name = head.headers.nameText(at: index)
                let value = [UInt8](copying: head.headers.value(at: index))
                let bytes = Array(name.utf8)
                if rules.upstream.contains(bytes) { changes.append(FieldChange(name, value, .set)) }
                if rules.upstreamAppended.contains(bytes) { added.append(FieldChange(name, value, .append)) }
                if rules.clientOnSuccess.contains(bytes) { responseChanges.append(FieldChange(name, value, .append)) }
            }
            changes += added
            for line in Self.values("x-envoy-auth-headers-to-remove", head.headers) {
                for part in line.split(separator: ",") {
                    let change = FieldChange(Self.trimmed(part), [], .remove)
                    if !change.name.isEmpty && !change.isPseudo && change.name != "host" { changes.append(change) }
                }
            }
        } else {
            self.init(.denied, status: head.status)
            isOverHTTP = true
            body = answer.body
            for index in 0..<head.headers.count {
                let name = head.headers.nameText(at: index)
                guard rules.client?.contains(Array(name.utf8)) ?? true else { continue }
                changes.append(FieldChange(name, [UInt8](copying: head.headers.value(at: index)), .append))
            }
        }
        var found: [String: JSON] = [:]
        for index in 0..<head.headers.count {
            let name = head.headers.nameText(at: index)
            if rules.metadata.contains(Array(name.utf8)) { found[name] = .string(head.headers.valueText(at: index)) }
        }
        if !found.isEmpty { metadata = .object(found) }
    }

    private static func values(_ name: String, _ headers: HeaderTable) -> [String] {
        var values: [String] = []
        var start = 0
        while let index = headers.index(named: name, from: start) {
            values.append(headers.valueText(at: index))
            start = index + 1
        }
        return values
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.drop { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }
}

/// The path of a request with other query parameters, in the order of their names as Envoy writes them.
enum QueryChange {
    static func apply(_ path: [UInt8], set: [(key: String, value: String)], remove: [String]) -> [UInt8] {
        let mark = path.firstIndex(of: UInt8(ascii: "?"))
        let base = path[..<(mark ?? path.endIndex)]
        var parameters: [(key: [UInt8], text: [UInt8])] = []
        if let mark {
            for part in path[(mark + 1)...].split(separator: UInt8(ascii: "&")) {
                parameters.append((Array(part.prefix { $0 != UInt8(ascii: "=") }), Array(part)))
            }
        }
        for (key, value) in set {
            let key = Array(key.utf8)
            parameters.removeAll { $0.key == key }
            parameters.append((key, key + [UInt8(ascii: "=")] + Array(value.utf8)))
        }
        for key in remove {
            let key = Array(key.utf8)
            parameters.removeAll { $0.key == key }
        }
        // Equal names keep their order.
        let sorted = parameters.enumerated().sorted {
            $0.element.key == $1.element.key
                ? $0.offset < $1.offset : $0.element.key.lexicographicallyPrecedes($1.element.key)
        }
        guard !sorted.isEmpty else { return Array(base) }
        return base + [UInt8(ascii: "?")] + sorted.map(\.element.text).joined(separator: [UInt8(ascii: "&")])
    }
}
