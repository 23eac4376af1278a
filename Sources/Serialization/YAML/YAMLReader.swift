import CYAML

/// Builds JSON values from libyaml's events.
struct YAMLReader: ~Copyable {
    private struct Node {
        var json: JSON
        var nodes: Int
        var depth: Int
    }

    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    private let input: UnsafeMutableBufferPointer<UInt8>
    private let file: String
    private var event = yaml_event_t()
    private var anchors: [String: Node] = [:]
    private var aliasedNodes = 0
    /// Without, no path is put together either: they would be most of the work.
    private let keepsLines: Bool
    private let fractionsAreText: Bool
    private var lines: [String: Int] = [:]

    init(_ bytes: [UInt8], file: String, keepsLines: Bool, fractionsAreText: Bool) {
        self.fractionsAreText = fractionsAreText
        self.file = file
        self.keepsLines = keepsLines
        input = .allocate(capacity: bytes.count)
        _ = input.initialize(from: bytes)
        yaml_parser_initialize(parser)
        yaml_parser_set_input_string(parser, input.baseAddress, bytes.count)
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    }

    deinit {
        var last = event
        yaml_event_delete(&last)
        yaml_parser_delete(parser)
        parser.deallocate()
        input.deallocate()
    }

    mutating func documents() throws(YAMLError) -> [YAMLDocument] {
        var documents: [YAMLDocument] = []
        while true {
            try next()
            switch event.type {
            case YAML_STREAM_END_EVENT: return documents
            case YAML_DOCUMENT_START_EVENT:
                (anchors, aliasedNodes, lines) = ([:], 0, [:])
                try next()
                let first = line
                let node = try value(path: "", depth: 0)
                if !node.json.isNull {
                    documents.append(YAMLDocument(json: node.json, firstLine: first, lines: lines))
                }
            default: break
            }
        }
    }

    private mutating func next() throws(YAMLError) {
        yaml_event_delete(&event)
        event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else {
            let problem = parser.pointee.problem.map { String(cString: $0) } ?? "not YAML"
            let context = parser.pointee.context.map { " " + String(cString: $0) } ?? ""
            // The reader knows an offset only; the scanner and the parser know the line.
            let offset = Int(clamping: parser.pointee.problem_offset)
            let line =
                parser.pointee.error == YAML_READER_ERROR
                ? input.prefix(offset).reduce(0) { $0 + ($1 == 0x0A ? 1 : 0) }
                : Int(clamping: parser.pointee.problem_mark.line)
            throw YAMLError(file: file, line: line + 1, problem: problem + context)
        }
    }

    private var line: Int { Int(clamping: event.start_mark.line) + 1 }

    private func error(_ problem: String, line: Int? = nil) -> YAMLError {
        YAMLError(file: file, line: line ?? self.line, problem: problem)
    }

    /// The value whose first event is the present one.
    private mutating func value(path: String, depth: Int) throws(YAMLError) -> Node {
        if !path.isEmpty && lines[path] == nil { lines[path] = line }
        let anchor = anchorName
        var node: Node
        switch event.type {
        case YAML_SCALAR_EVENT: node = Node(json: try scalar(), nodes: 1, depth: 0)
        case YAML_SEQUENCE_START_EVENT: node = try sequence(path: path, depth: depth + 1)
        case YAML_MAPPING_START_EVENT: node = try mapping(path: path, depth: depth + 1)
        case YAML_ALIAS_EVENT: return try alias(depth: depth)
        default: throw error("a value is expected")
        }
        if let anchor { anchors[anchor] = node }
        return node
    }

    /// Whether a key or value is tagged `!ignore`: what it stands for is there for its anchors alone, and no member of the mapping (Envoy).
    private var hasIgnoreTag: Bool {
        let tag: UnsafeMutablePointer<yaml_char_t>? =
            switch event.type {
            case YAML_SCALAR_EVENT: event.data.scalar.tag
            case YAML_SEQUENCE_START_EVENT: event.data.sequence_start.tag
            case YAML_MAPPING_START_EVENT: event.data.mapping_start.tag
            default: nil
            }
        return tag.map { String(cString: $0) == Self.ignoreTag } ?? false
    }

    private static let ignoreTag = "!ignore"

    private var anchorName: String? {
        let name: UnsafeMutablePointer<yaml_char_t>? =
            switch event.type {
            case YAML_SCALAR_EVENT: event.data.scalar.anchor
            case YAML_SEQUENCE_START_EVENT: event.data.sequence_start.anchor
            case YAML_MAPPING_START_EVENT: event.data.mapping_start.anchor
            default: nil
            }
        return name.map { String(cString: $0) }
    }

    private mutating func alias(depth: Int) throws(YAMLError) -> Node {
        let name = event.data.alias.anchor.map { String(cString: $0) } ?? ""
        guard let node = anchors[name] else { throw error("there is no anchor \(name) before this alias") }
        aliasedNodes += node.nodes
        guard aliasedNodes <= YAML.aliasedNodesMax else {
            throw error("aliases add more than \(YAML.aliasedNodesMax) values")
        }
        guard depth + node.depth <= YAML.depthMax else { throw error("nested deeper than \(YAML.depthMax) levels") }
        return node
    }

    private mutating func sequence(path: String, depth: Int) throws(YAMLError) -> Node {
        guard depth <= YAML.depthMax else { throw error("nested deeper than \(YAML.depthMax) levels") }
        var elements: [JSON] = []
        var result = Node(json: .null, nodes: 1, depth: 1)
        while true {
            try next()
            if event.type == YAML_SEQUENCE_END_EVENT { break }
            let element = try value(path: keepsLines ? "\(path)[\(elements.count)]" : "", depth: depth)
            elements.append(element.json)
            result.nodes += element.nodes
            result.depth = max(result.depth, element.depth + 1)
        }
        result.json = .array(elements)
        return result
    }

    private mutating func mapping(path: String, depth: Int) throws(YAMLError) -> Node {
        guard depth <= YAML.depthMax else { throw error("nested deeper than \(YAML.depthMax) levels") }
        var members: [String: JSON] = [:]
        var merged: [String: JSON] = [:]
        var result = Node(json: .null, nodes: 1, depth: 1)
        while true {
            try next()
            if event.type == YAML_MAPPING_END_EVENT { break }
            let keyLine = line
            // Envoy's own files have the tag on the key, others on the value.
            let isTagged = hasIgnoreTag
            let (key, isMerge) = try key()
            let inner = !keepsLines ? "" : path.isEmpty ? key : path + "." + key
            if keepsLines && !isMerge { lines[inner] = lines[inner] ?? keyLine }
            try next()
            let isLeftOut = isTagged || hasIgnoreTag
            let member = try value(path: isMerge ? path : inner, depth: depth)
            result.nodes += member.nodes
            result.depth = max(result.depth, member.depth + 1)
            if isLeftOut { continue }
            if isMerge {
                try merge(member.json, into: &merged, line: keyLine)
            } else if members.updateValue(member.json, forKey: key) != nil {
                throw error("the key \"\(key)\" is there twice\(inner.isEmpty ? "" : " (\(inner))")", line: keyLine)
            }
        }
        if !merged.isEmpty { members.merge(merged) { own, _ in own } }
        result.json = .object(members)
        return result
    }

    private func merge(_ value: JSON, into merged: inout [String: JSON], line: Int) throws(YAMLError) {
        for part in value.array ?? [value] {
            guard case .object(let members) = part else { throw error("'<<' takes mappings only", line: line) }
            merged.merge(members) { first, _ in first }
        }
    }

    /// The key at which we stand, and whether it is the merge key.
    private mutating func key() throws(YAMLError) -> (String, isMerge: Bool) {
        let json: JSON
        switch event.type {
        case YAML_SCALAR_EVENT:
            json = try scalar()
            if let anchor = anchorName { anchors[anchor] = Node(json: json, nodes: 1, depth: 0) }
            let isPlain = event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE
            if isPlain && json == .string("<<") { return ("<<", true) }
        case YAML_ALIAS_EVENT: json = try alias(depth: 0).json
        default: throw error("a key must be a scalar")
        }
        switch json {
        case .string(let text): return (text, false)
        case .array, .object: throw error("a key must be a scalar")
        default: return (json.text, false)
        }
    }

    private func scalar() throws(YAMLError) -> JSON {
        let scalar = event.data.scalar
        let bytes = UnsafeBufferPointer(
            start: scalar.value, count: scalar.value == nil ? 0 : Int(clamping: scalar.length))
        let text = String(decoding: bytes, as: UTF8.self)
        let tag = scalar.tag.map { String(cString: $0) }
        switch tag {
        case nil, Self.ignoreTag: break
        case "tag:yaml.org,2002:str", "!": return .string(text)
        case "tag:yaml.org,2002:binary": return .string(text.filter { !$0.isWhitespace })
        case "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null":
            guard let value = YAMLScalar.resolve(text), value.string == nil else {
                throw error("\"\(text)\" does not fit its tag")
            }
            return value
        case .some(let tag): throw error("unknown tag \(tag)")
        }
        guard scalar.style == YAML_PLAIN_SCALAR_STYLE else { return .string(text) }
        if fractionsAreText, YAMLScalar.isFraction(text) { return .string(text) }
        guard let value = YAMLScalar.resolve(text) else { throw error("\(text) has no place in JSON") }
        return value
    }
}
