/// Chooses a content coding by what a client accepts (RFC 9110 §12.5.3), the way Envoy reads it.
enum AcceptEncoding {
    /// A compressor of the chain.
    struct Candidate: Hashable {
        var encoding: String
        /// Whether it comes first among those that the client likes equally.
        var choosesFirst = false
    }

    /// Why the choice was made.
    enum Reason { case compressor, identity, wildcard, notValid }

    /// The coding to use; `identity` is none.
    static func choose(_ field: String, among candidates: [Candidate]) -> (encoding: String, reason: Reason) {
        // Of several compressors of one coding the first counts.
        var allowed: [Candidate] = []
        for candidate in candidates where !allowed.contains(where: { $0.encoding == candidate.encoding }) {
            allowed.append(candidate)
        }
        var wishes: [(encoding: String, quality: Double)] = []
        for member in field.split(separator: ",").prefix(CompressorLimits.acceptedCodings) {
            guard let wish = wish(String(member)) else { continue }
            wishes.append(wish)
            // A quality of zero forbids.
            if wish.quality == 0 { allowed.removeAll { $0.encoding == wish.encoding } }
        }
        guard !wishes.isEmpty, !allowed.isEmpty else { return ("identity", .notValid) }
        var choice = (encoding: "identity", quality: 0.0)
        for wish in wishes {
            let candidate = allowed.first { $0.encoding == wish.encoding }
            guard candidate != nil || wish.encoding == "identity" || wish.encoding == "*" else { continue }
            if wish.quality > choice.quality
                || (wish.quality == choice.quality && candidate?.choosesFirst == true)
            {
                choice = wish
            }
        }
        guard choice.quality != 0 else { return ("identity", .notValid) }
        switch choice.encoding {
        case "identity": return ("identity", .identity)
        case "*": return (allowed.first?.encoding ?? "identity", .wildcard)
        default: return (choice.encoding, .compressor)
        }
    }

    /// One member of the list: the coding and how much it is liked; nil when its quality is no number.
    private static func wish(_ member: String) -> (encoding: String, quality: Double)? {
        let parts = member.split(separator: ";", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first else { return nil }
        let encoding = String(String(first).trimmedBlanks)
        guard parts.count > 1 else { return (encoding, 1) }
        let parameter = parts[1].split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parameter.count > 1, String(parameter[0]).trimmedBlanks.lowercased() == "q" else { return (encoding, 1) }
        guard let quality = Double(String(parameter[1]).trimmedBlanks) else { return nil }
        return (encoding, quality)
    }

    /// A list with one more coding, liked most; without it as it stood there before.
    static func adding(_ encoding: String, to field: String) -> String {
        var members: [Substring] = []
        for member in field.split(separator: ",") {
            let trimmed = String(member).trimmedBlanks
            let name = String(trimmed.prefix { $0 != ";" }).trimmedBlanks
            if !trimmed.isEmpty && name != encoding { members.append(trimmed) }
        }
        members.append(Substring(encoding))
        return members.joined(separator: ",")
    }
}

/// Bounds of the filters that pack and unpack.
enum CompressorLimits {
    /// Members of `accept-encoding` that are looked at.
    static let acceptedCodings = 64
    /// How much larger than what came unpacked bytes may be, where nothing else is said.
    static let inflateRatio = 100
}
