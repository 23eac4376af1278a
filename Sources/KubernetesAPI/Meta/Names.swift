/// The syntax rules of names, labels and ports, in Kubernetes' own words.
///
/// Every function returns what is wrong, or `nil`.
public enum Names {
    private static func isLower(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) }
    private static func isAlphanumeric(_ byte: UInt8) -> Bool { isLower(byte) || (0x41...0x5a).contains(byte) }

    private static func isLabel(_ bytes: Substring.UTF8View, startsWithLetter: Bool = false) -> Bool {
        guard let first = bytes.first, let last = bytes.last, isLower(first), isLower(last) else { return false }
        if startsWithLetter && !(0x61...0x7a).contains(first) { return false }
        return bytes.allSatisfy { isLower($0) || $0 == 0x2d }
    }

    /// RFC 1123 label: most namespaced names.
    public static func dns1123LabelProblem(_ name: String) -> String? {
        if name.utf8.count > 63 { return "must be no more than 63 characters" }
        if isLabel(name[...].utf8) { return nil }
        return
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            + "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            + "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    }

    /// RFC 1123 subdomain: labels joined by dots.
    public static func dns1123SubdomainProblem(_ name: String) -> String? {
        if name.utf8.count > 253 { return "must be no more than 253 characters" }
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        if labels.allSatisfy({ isLabel($0.utf8) }) { return nil }
        return
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            + "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            + "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    }

    /// Names that need only fit into a path: roles and bindings.
    public static func pathSegmentProblem(_ name: String) -> String? {
        if name == "." || name == ".." { return "may not be '\(name)'" }
        for letter in ["/", "%"] where name.contains(letter) { return "may not contain '\(letter)'" }
        return name.utf8.count > 253 ? "must be no more than 253 characters" : nil
    }

    /// RFC 1035 label: Service names, which are also DNS labels that must not start with a digit.
    public static func dns1035LabelProblem(_ name: String) -> String? {
        if name.utf8.count > 63 { return "must be no more than 63 characters" }
        if isLabel(name[...].utf8, startsWithLetter: true) { return nil }
        return "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            + "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
            + "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    }

    /// A label or annotation key: optional DNS prefix and a name.
    public static func qualifiedNameProblem(_ key: String) -> String? {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        guard let name = parts.last, parts.count <= 2 else {
            return "a qualified name must consist of alphanumeric characters, '-', '_' or '.' with an optional DNS "
                + "subdomain prefix and '/' (e.g. 'example.com/MyName')"
        }
        if parts.count == 2, let prefix = parts.first {
            if prefix.isEmpty { return "prefix part must be non-empty" }
            if let problem = dns1123SubdomainProblem(String(prefix)) { return "prefix part " + problem }
        }
        if name.isEmpty { return "name part must be non-empty" }
        if name.utf8.count > 63 { return "name part must be no more than 63 characters" }
        if isQualified(name.utf8) { return nil }
        return "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            + "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            + "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    }

    private static func isQualified(_ bytes: Substring.UTF8View) -> Bool {
        guard let first = bytes.first, let last = bytes.last, isAlphanumeric(first), isAlphanumeric(last) else {
            return false
        }
        return bytes.allSatisfy { isAlphanumeric($0) || $0 == 0x2d || $0 == 0x5f || $0 == 0x2e }
    }

    /// A label's value.
    public static func labelValueProblem(_ value: String) -> String? {
        if value.utf8.count > 63 { return "must be no more than 63 characters" }
        if value.isEmpty || isQualified(value[...].utf8) { return nil }
        return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            + "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
            + "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    }

    /// A port's name (IANA service name): at most 15 characters, with a letter.
    public static func portNameProblem(_ name: String) -> String? {
        if name.utf8.count > 15 { return "must be no more than 15 characters" }
        if !name.utf8.allSatisfy({ isLower($0) || $0 == 0x2d }) {
            return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        }
        if !name.utf8.contains(where: { (0x61...0x7a).contains($0) }) {
            return "must contain at least one letter (a-z)"
        }
        if name.contains("--") { return "must not contain consecutive hyphens" }
        return isLabel(name[...].utf8) ? nil : "must not begin or end with a hyphen"
    }

    /// `*.` and a subdomain.
    public static func wildcardProblem(_ name: String) -> String? {
        if name.hasPrefix("*."), dns1123SubdomainProblem(String(name.dropFirst(2))) == nil { return nil }
        return
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
            + "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
            + "regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    }

    /// An environment variable's name.
    public static func environmentNameProblem(_ name: String) -> String? {
        if name.isEmpty || name == "." || name == ".."
            || name.utf8.contains(where: { $0 < 0x21 || $0 == 0x3d || $0 == 0x7f })
        {
            return "a valid environment variable name must consist only of printable ASCII characters other than '='"
        }
        return nil
    }

    /// A key of a ConfigMap or Secret.
    public static func configKeyProblem(_ key: String) -> String? {
        if key.utf8.count > 253 { return "must be no more than 253 characters" }
        if key == "." || key == ".." || key.hasPrefix("..") { return "must not start with '..'" }
        if !key.isEmpty, key.utf8.allSatisfy({ isAlphanumeric($0) || $0 == 0x2d || $0 == 0x5f || $0 == 0x2e }) {
            return nil
        }
        return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            + "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    }

    /// A port number.
    public static func portProblem(_ port: Int) -> String? {
        (1...65535).contains(port) ? nil : "must be between 1 and 65535, inclusive"
    }
}
