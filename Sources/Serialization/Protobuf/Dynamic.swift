/// The three well-known types that stand for JSON.
public enum DynamicKind: Sendable {
    /// `google.protobuf.Struct`: an object.
    case structure
    /// `google.protobuf.Value`: anything.
    case value
    /// `google.protobuf.ListValue`: an array.
    case list
}

extension MessageDecoder {
    /// Reads one of the three from the wire; its length comes next.
    func wireDynamic(_ kind: DynamicKind) throws(MessageError) -> JSON {
        try nested { () throws(MessageError) in
            let outer = try enter()
            defer { leave(outer) }
            switch kind {
            case .structure:
                var members: [String: JSON] = [:]
                while let number = try nextTag() {
                    guard number == 1 else {
                        try skip()
                        continue
                    }
                    try expect(.delimited)
                    try structureEntry(&members)
                }
                return .object(members)
            case .list:
                var elements: [JSON] = []
                while let number = try nextTag() {
                    guard number == 1 else {
                        try skip()
                        continue
                    }
                    try expect(.delimited)
                    elements.append(try wireDynamic(.value))
                }
                return .array(elements)
            case .value: return try oneValue()
            }
        }
    }

    private func structureEntry(_ members: inout [String: JSON]) throws(MessageError) {
        let outer = try enter()
        var key = ""
        var value = JSON.null
        while let number = try nextTag() {
            switch number {
            case 1: key = try self.value()
            case 2:
                try expect(.delimited)
                value = try wireDynamic(.value)
            default: try skip()
            }
        }
        leave(outer)
        members[key] = value
    }

    private func oneValue() throws(MessageError) -> JSON {
        var result = JSON.null
        while let number = try nextTag() {
            switch number {
            case 1:
                _ = try varint()
                result = .null
            case 2:
                let number: Double = try value()
                result = Int64(exactly: number).map(JSON.integer) ?? .number(number)
            case 3: result = .string(try value())
            case 4: result = .bool(try value())
            case 5, 6:
                try expect(.delimited)
                result = try wireDynamic(number == 5 ? .structure : .list)
            default: try skip()
            }
        }
        return result
    }
}

extension MessageEncoder {
    /// Writes the fields of one of the three, without length.
    func wireDynamic(_ json: JSON, _ kind: DynamicKind) {
        switch (kind, json) {
        case (.structure, .object(let members)):
            for key in members.keys.sorted() {
                tag(1, .delimited)
                delimited {
                    field(1, key)
                    tag(2, .delimited)
                    delimited { wireDynamic(members[key] ?? .null, .value) }
                }
            }
        case (.list, .array(let elements)):
            for element in elements {
                tag(1, .delimited)
                delimited { wireDynamic(element, .value) }
            }
        case (.value, .null): field(1, Int32(0))
        case (.value, .integer(let number)): field(2, Double(number))
        case (.value, .number(let number)): field(2, number)
        case (.value, .string(let text)): field(3, text)
        case (.value, .bool(let flag)): field(4, flag)
        case (.value, .object):
            tag(5, .delimited)
            delimited { wireDynamic(json, .structure) }
        case (.value, .array):
            tag(6, .delimited)
            delimited { wireDynamic(json, .list) }
        case (.structure, _), (.list, _): break  // No object or list: an empty one.
        }
    }
}
