internal import EnvoyAPI
internal import HTTP

/// One change to a message's fields that a service asked for.
struct FieldChange: Hashable {
    enum Action: Hashable {
        /// In place of all of that name.
        case set
        /// One more.
        case append
        /// To the value of the one that is there, behind a comma.
        case appendIfPresent
        /// Only where there is none.
        case addIfAbsent
        /// In place of those of that name, where there are any.
        case setIfPresent
        case remove
    }

    var name: String
    var value: [UInt8]
    var action: Action

    init(_ name: String, _ value: [UInt8] = [], _ action: Action = .set) {
        self.name = name.lowercased()
        self.value = value
        self.action = action
    }

    /// Whether name and value may stand in a message.
    var isWellFormed: Bool {
        if action == .remove { return !name.isEmpty }
        if isPseudo { return !value.isEmpty && value.allSatisfy { $0 > 0x20 && $0 < 0x7F } }
        var probe = HeaderTable()
        do throws(HTTPFieldError) {
            try probe.append(Array(name.utf8).span.bytes, value.span.bytes)
            return true
        } catch {
            return false
        }
    }

    var isPseudo: Bool { name.hasPrefix(":") }

    /// Whether the message is to do without a length.
    var removesLength: Bool { action == .remove && name == "content-length" }

    /// Fields that say how a message is framed, or belong to one connection: nobody else's to change.
    var isFraming: Bool { Self.framing.contains(name) }
    private static let framing: Set<String> = [
        "content-length", "transfer-encoding", "connection", "upgrade", "te", "keep-alive", "proxy-connection",
    ]
}

extension HeaderTable {
    /// Applies a change; one that cannot be written is left out.
    mutating func apply(_ change: FieldChange) {
        guard !change.isFraming, !change.isPseudo else { return }
        let name = Array(change.name.utf8)
        let isThere = index(named: name.span.bytes) != nil
        switch change.action {
        case .remove: remove(named: name.span.bytes)
        case .set, .setIfPresent:
            guard change.action == .set || isThere, change.isWellFormed else { return }
            remove(named: name.span.bytes)
            try? append(name.span.bytes, change.value.span.bytes)
        case .append: try? append(name.span.bytes, change.value.span.bytes)
        case .appendIfPresent:
            guard let index = index(named: name.span.bytes), change.isWellFormed else { return }
            let joined = [UInt8](copying: value(at: index)) + [UInt8(ascii: ",")] + change.value
            remove(named: name.span.bytes)
            try? append(name.span.bytes, joined.span.bytes)
        case .addIfAbsent: if !isThere { try? append(name.span.bytes, change.value.span.bytes) }
        }
    }
}

extension RequestHead {
    /// Applies a change to fields or pseudo headers of a request; `host` is `:authority`.
    mutating func apply(_ change: FieldChange) {
        guard change.isPseudo || change.name == "host" else { return headers.apply(change) }
        switch change.action {
        case .set, .append, .setIfPresent: break
        case .appendIfPresent, .addIfAbsent, .remove: return
        }
        switch change.name {
        case ":path": try? setPath(change.value.span.bytes)
        case ":authority", "host": try? setAuthority(change.value.span.bytes)
        case ":method":
            // What becomes or stops being CONNECT would change what the rest of the request is.
            let connect = Array("CONNECT".utf8)
            if change.value != connect, methodBytes != connect { try? setMethod(token: change.value.span.bytes) }
        default: return
        }
    }
}

extension HeaderValue {
    /// The value, whichever field it stands in.
    var bytes: [UInt8] { rawValue.isEmpty ? Array(value.utf8) : rawValue }
}

extension HeaderValueOption {
    /// The change as Envoy's processors mean it: `append` alone says what happens to fields that are there.
    var change: FieldChange? {
        guard let header, !header.key.isEmpty else { return nil }
        return FieldChange(header.key, header.bytes, append ?? false ? .append : .set)
    }

    /// The change that it asks for; nil when it names no field.
    ///
    /// - Parameter standard: what happens where neither `append` nor an action other than the first says it.
    func change(standard: FieldChange.Action) -> FieldChange? {
        guard let header, !header.key.isEmpty else { return nil }
        let action: FieldChange.Action
        if let append {
            action = append ? .append : .set
        } else {
            switch appendAction {
            case .appendIfExistsOrAdd: action = standard
            case .addIfAbsent: action = .addIfAbsent
            case .overwriteIfExistsOrAdd: action = .set
            case .overwriteIfExists: action = .setIfPresent
            case .unrecognized: action = standard
            }
        }
        return FieldChange(header.key, header.bytes, action)
    }
}
