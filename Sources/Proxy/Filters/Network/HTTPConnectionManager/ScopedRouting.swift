internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Upstream

/// A compiled `scoped_routes`: headers make a key, and the key names the routes.
struct ScopedRouting: Sendable {
    /// One part of a key: a piece of a header's value.
    struct Fragment: Sendable, Hashable {
        enum Extract: Sendable, Hashable {
            case index(Int)
            case element(separator: [UInt8], key: [UInt8])
        }

        var header: String
        /// What stands between elements; empty: the value is one element.
        var separator: [UInt8]
        var extract: Extract

        /// The part; nil where the value has none.
        func value(_ text: String) -> String? {
            let bytes = Array(text.utf8)
            let elements = separator.isEmpty ? [bytes[...]] : ScopedRouting.split(bytes, separator)
            switch extract {
            case .index(let index):
                return elements.indices.contains(index) ? String(decoding: elements[index], as: UTF8.self) : nil
            case .element(let separator, let key):
                for element in elements {
                    let parts = ScopedRouting.split(Array(element), separator, atMost: 2)
                    if let name = parts.first, name.elementsEqual(key) {
                        return parts.count > 1 ? String(decoding: parts[1], as: UTF8.self) : ""
                    }
                }
                return nil
            }
        }
    }

    /// Where scopes come from.
    enum Source: Sendable {
        case inline([Scope])
        /// SRDS; the scopes are in the tables.
        case discovered(DiscoverySource)
    }

    /// The routes of one key.
    struct Scope: Sendable {
        enum Routes: Sendable {
            case inline(CompiledRoutes)
            /// By RDS.
            case named(String)
        }

        let name: String
        let key: [String]
        let routes: Routes

        /// The route configuration that it names; nil where it brings its own.
        var routesName: String? { if case .named(let name) = routes { name } else { nil } }

        init(compiling message: ScopedRouteConfiguration, at path: String, context: CompileContext)
            throws(ConfigurationError)
        {
            try FieldCheck.check(
                message, reads: ["name", "route_configuration_name", "route_configuration", "key"], at: path)
            guard !message.name.isEmpty else {
                throw ConfigurationError(at: FieldCheck.join(path, "name"), "a name is needed")
            }
            name = message.name
            var key: [String] = []
            for (index, fragment) in (message.key?.fragments ?? []).enumerated() {
                guard case .stringKey(let text)? = fragment.type else {
                    throw ConfigurationError(
                        at: FieldCheck.join(path, "key.fragments[\(index)].string_key"), "is missing")
                }
                key.append(text)
            }
            guard !key.isEmpty else { throw ConfigurationError(at: FieldCheck.join(path, "key"), "is missing") }
            self.key = key
            if let routes = message.routeConfiguration {
                guard message.routeConfigurationName.isEmpty else {
                    throw ConfigurationError(
                        at: FieldCheck.join(path, "route_configuration"), "stands beside route_configuration_name")
                }
                self.routes = .inline(
                    try CompiledRoutes(
                        routes, at: FieldCheck.join(path, "route_configuration"), context: context))
            } else {
                guard !message.routeConfigurationName.isEmpty else {
                    throw ConfigurationError(at: FieldCheck.join(path, "route_configuration_name"), "is missing")
                }
                routes = .named(message.routeConfigurationName)
            }
        }
    }

    /// What metrics call it.
    let name: String
    let fragments: [Fragment]
    let source: Source
    /// Where the routes of named scopes come from.
    let routesSource: DiscoverySource?

    init(compiling message: ScopedRoutes, at path: String, context: CompileContext) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "name", "scope_key_builder", "rds_config_source", "scoped_route_configurations_list", "scoped_rds",
            ], at: path)
        var fragments: [Fragment] = []
        for (index, fragment) in (message.scopeKeyBuilder?.fragments ?? []).enumerated() {
            let here = "\(path).scope_key_builder.fragments[\(index)].header_value_extractor"
            guard case .headerValueExtractor(let extractor)? = fragment.type, !extractor.name.isEmpty else {
                throw ConfigurationError(at: here, "a header's name is needed")
            }
            let extract: Fragment.Extract
            switch extractor.extractType {
            case .index(let number):
                guard !extractor.elementSeparator.isEmpty || number == 0 else {
                    throw ConfigurationError(at: here + ".index", "above 0 needs an element_separator")
                }
                extract = .index(Int(number))
            case .element(let element):
                guard !element.separator.isEmpty, !element.key.isEmpty else {
                    throw ConfigurationError(at: here + ".element", "a separator and a key are needed")
                }
                extract = .element(separator: Array(element.separator.utf8), key: Array(element.key.utf8))
            case nil: throw ConfigurationError(at: here, "index or element is needed")
            }
            fragments.append(
                Fragment(
                    header: extractor.name.lowercased(), separator: Array(extractor.elementSeparator.utf8),
                    extract: extract))
        }
        guard !fragments.isEmpty else {
            throw ConfigurationError(at: path + ".scope_key_builder.fragments", "at least one is needed")
        }
        name = message.name
        self.fragments = fragments
        routesSource = try message.rdsConfigSource.map { (source) throws(ConfigurationError) in
            try DiscoverySource(compiling: source, at: path + ".rds_config_source", hasADS: context.hasADS)
        }
        switch message.configSpecifier {
        case .scopedRouteConfigurationsList(let list):
            var scopes: [Scope] = []
            for (index, scope) in list.scopedRouteConfigurations.enumerated() {
                let here = "\(path).scoped_route_configurations_list.scoped_route_configurations[\(index)]"
                let compiled = try Scope(compiling: scope, at: here, context: context)
                guard !scopes.contains(where: { $0.key == compiled.key }) else {
                    throw ConfigurationError(at: here + ".key", "another scope has this key")
                }
                if case .named = compiled.routes, routesSource == nil {
                    throw ConfigurationError(at: path + ".rds_config_source", "is missing")
                }
                scopes.append(compiled)
            }
            source = .inline(scopes)
        case .scopedRds(let scoped):
            let here = path + ".scoped_rds"
            try FieldCheck.check(scoped, reads: ["scoped_rds_config_source"], at: here)
            guard routesSource != nil else { throw ConfigurationError(at: path + ".rds_config_source", "is missing") }
            source = .discovered(
                try DiscoverySource(
                    compiling: scoped.scopedRdsConfigSource, at: here + ".scoped_rds_config_source",
                    hasADS: context.hasADS))
        case nil:
            throw ConfigurationError(at: path, "scoped_route_configurations_list or scoped_rds is needed")
        }
    }

    /// The key of a request; nil when a header or its part is missing.
    func key(_ headers: borrowing HeaderTable) -> [String]? {
        var key: [String] = []
        for fragment in fragments {
            guard let text = headers[fragment.header], let value = fragment.value(text) else { return nil }
            key.append(value)
        }
        return key
    }

    /// The pieces between separators, empty ones too.
    static func split(_ bytes: [UInt8], _ separator: [UInt8], atMost count: Int = .max) -> [ArraySlice<UInt8>] {
        var pieces: [ArraySlice<UInt8>] = []
        var start = 0
        var index = 0
        while index + separator.count <= bytes.count, pieces.count < count - 1 {
            if bytes[index..<(index + separator.count)].elementsEqual(separator) {
                pieces.append(bytes[start..<index])
                index += separator.count
                start = index
            } else {
                index += 1
            }
        }
        pieces.append(bytes[start...])
        return pieces
    }
}
