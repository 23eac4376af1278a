internal import EnvoyAPI

extension HeaderMutation {
    /// The changes of one level: removals first, as in Envoy, then additions in their order.
    static func list(
        add: [HeaderValueOption], _ addPath: FieldPath, remove: [String], _ removePath: FieldPath
    ) throws(ConfigurationError) -> [HeaderMutation] {
        var result: [HeaderMutation] = []
        for (index, name) in remove.enumerated() {
            try checkName(name, removePath[index])
            result.append(HeaderMutation(name: HeaderName(name), operation: .remove))
        }
        for (index, option) in add.enumerated() {
            result.append(try HeaderMutation(compiling: option, addPath[index]))
        }
        return result
    }

    private init(compiling message: HeaderValueOption, _ path: FieldPath) throws(ConfigurationError) {
        guard let header = message.header else { throw (path / "header").error("is missing") }
        try Self.checkName(header.key, path / "header.key")
        let value: HeaderTemplate
        if header.rawValue.isEmpty {
            do throws(HeaderTemplateError) {
                value = try HeaderTemplate(parsing: header.value)
            } catch {
                throw (path / "header.value").error(error.description)
            }
            try Self.checkValue(Array(header.value.utf8), path / "header.value")
        } else {
            guard header.value.isEmpty else { throw (path / "header").error("has value and raw_value; set one") }
            try Self.checkValue(header.rawValue, path / "header.raw_value")
            value = HeaderTemplate(literal: header.rawValue)
        }
        let operation: Operation
        switch message.appendAction {
        case .appendIfExistsOrAdd: operation = .append(value)
        case .addIfAbsent: operation = .addIfAbsent(value)
        case .overwriteIfExistsOrAdd: operation = .overwriteOrAdd(value)
        case .overwriteIfExists: operation = .overwriteIfPresent(value)
        case .unrecognized(let number): throw (path / "append_action").error("\(number) is no action")
        }
        if let append = message.append {
            // The old spelling of the same choice.
            guard message.appendAction == .appendIfExistsOrAdd else {
                throw (path / "append").error("stands beside append_action; set one")
            }
            self.init(
                name: HeaderName(header.key), operation: append ? .append(value) : .overwriteOrAdd(value),
                keepsEmptyValue: message.keepEmptyValue)
            return
        }
        self.init(name: HeaderName(header.key), operation: operation, keepsEmptyValue: message.keepEmptyValue)
    }

    /// A field name (RFC 9110 §5.1) that is not part of the request line or the framing.
    private static func checkName(_ name: String, _ path: FieldPath) throws(ConfigurationError) {
        guard !name.isEmpty else { throw path.error("is empty") }
        let lower = name.lowercased()
        if name.hasPrefix(":") || lower == "host" {
            throw path.error("\(name): pseudo headers and host cannot be changed here; use the rewrite fields")
        }
        if framing.contains(lower) { throw path.error("\(name): belongs to the framing of the message") }
        guard name.utf8.allSatisfy(isTokenByte) else { throw path.error("\(name): is no header name") }
    }

    /// What the codec alone decides: changed by configuration, it would let one message be read as two (ATK-12).
    private static let framing: Set<String> = ["content-length", "transfer-encoding"]

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    private static func checkValue(_ value: [UInt8], _ path: FieldPath) throws(ConfigurationError) {
        guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
            throw path.error("holds a control character, which no header value may")
        }
    }
}

extension HeaderTemplate {
    /// A constant value.
    init(literal bytes: [UInt8]) { segments = bytes.isEmpty ? [] : [.literal(bytes)] }
}
