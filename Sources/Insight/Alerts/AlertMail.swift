public import Serialization

/// The text of a message about alerts, as mail programs take it from standard input (`sendmail -i -t`).
///
/// Pure. Values of labels come from outside: they are in the body alone, which is base64, and in the subject as an encoded word, so that no
/// value can add a header field or an address.
public enum AlertMail {
    /// Whom a message is from where nothing is said.
    public static let sender = "skein@localhost"
    /// Addresses of a message at most.
    public static let addressesMax = 20
    /// Alerts in a message at most; the rest is counted.
    public static let alertsMax = 50
    /// Bytes of the text of a message at most; what is more is cut.
    static let textBytesMax = 64 << 10
    /// Bytes of a subject at most.
    static let subjectBytesMax = 200

    /// `local@domain` out of characters that need no quotation marks; nothing that a mail program could take for a flag.
    static func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard text.utf8.count <= 254, parts.count == 2 else { return false }
        func isPlain(_ part: Substring, _ others: String) -> Bool {
            guard let first = part.first, first != "-", first != ".", part.last != "." else { return false }
            return part.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) || others.contains($0) }
        }
        return isPlain(parts[0], "!#$%&'*+/=?^_`{|}~.-") && isPlain(parts[1], ".-")
    }

    /// A message of RFC 5322, lines ended by a line feed.
    ///
    /// - Parameters:
    ///   - body: Alertmanager's webhook body, as `AlertNotifier` makes it.
    ///   - time: When it is sent; milliseconds since 1970.
    public static func text(_ body: JSON, from: String, to: [String], at time: Int64) -> String {
        let fields = [
            "From: \(from)", "To: \(to.joined(separator: ",\n "))", "Subject: \(encoded(subject(body)))",
            "Date: \(date(time))", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: base64", "Auto-Submitted: auto-generated",
        ]
        return (fields + [""] + lines(Base64.encode(cut(plain(body), textBytesMax)), 76)).joined(separator: "\n") + "\n"
    }

    private static func subject(_ body: JSON) -> String {
        let alerts = body["alerts"]?.array ?? []
        let firing = alerts.count { $0["status"]?.string == "firing" }
        let state = firing > 0 ? "[FIRING:\(firing)]" : "[RESOLVED]"
        let names = Set(alerts.compactMap { $0["labels"]?["alertname"]?.string }).sorted()
        return "\(state) \(names.joined(separator: ", "))"
    }

    private static func plain(_ body: JSON) -> String {
        var text = ""
        for alert in body["alerts"]?.array ?? [] {
            let labels = alert["labels"]?.object ?? [:]
            let (begin, end) = (alert["startsAt"]?.string ?? "", alert["endsAt"]?.string ?? "")
            text +=
                "\(alert["status"]?.string == "firing" ? "FIRING" : "RESOLVED") \(labels["alertname"]?.string ?? "")"
            text += " since \(begin)\(alert["status"]?.string == "firing" ? "" : ", over at \(end)")\n"
            for (name, value) in (alert["annotations"]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                text += "  \(name): \(value.string ?? "")\n"
            }
            for (name, value) in labels.sorted(by: { $0.key < $1.key }) where name != "alertname" {
                text += "  \(name)=\"\(value.string ?? "")\"\n"
            }
            text += "\n"
        }
        let left = body["truncatedAlerts"]?.int ?? 0
        if left > 0 { text += "and \(left) more\n" }
        return text + "Now: skein alerts, or \(body["externalURL"]?.string ?? "")/dashboard#/alerts\n"
    }

    /// At most so many bytes, cut between two characters.
    private static func cut(_ text: String, _ bytes: Int) -> [UInt8] {
        guard text.utf8.count > bytes else { return Array(text.utf8) }
        var kept: [UInt8] = []
        for character in text {
            guard kept.count + character.utf8.count <= bytes else { break }
            kept += character.utf8
        }
        return kept
    }

    /// Encoded words of RFC 2047 where the text is not plain ASCII; the text as it is otherwise.
    private static func encoded(_ text: String) -> String {
        let kept = String(decoding: cut(text, subjectBytesMax), as: UTF8.self)
        guard !kept.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else { return kept }
        var words: [String] = []
        var rest = Substring(kept)
        while !rest.isEmpty {
            // 45 bytes are 60 letters: a word has 75 at most. A character of more bytes than that is replaced.
            var piece = cut(String(rest), 45)
            let count = String(decoding: piece, as: UTF8.self).count
            if piece.isEmpty { piece = Array("?".utf8) }
            rest = rest.dropFirst(max(1, count))
            words.append("=?utf-8?B?\(Base64.encode(piece))?=")
        }
        return words.joined(separator: "\n ")
    }

    private static func lines(_ text: String, _ length: Int) -> [String] {
        var lines: [String] = []
        var rest = Substring(text)
        while !rest.isEmpty {
            lines.append(String(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
        return lines
    }

    /// `Sun, 22 Nov 2026 20:30:28 +0000`.
    private static func date(_ milliseconds: Int64) -> String {
        let time = Timestamp(seconds: milliseconds / 1000)
        let civil = time.civil
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        // 1970 began on a Thursday.
        let day = days[Int(max(0, time.seconds) / 86_400 % 7)]
        let month = months[Int(min(12, max(1, civil.month))) - 1]
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(day), \(two(civil.day)) \(month) \(civil.year) \(two(civil.hour)):\(two(civil.minute)):"
            + "\(two(civil.second)) +0000"
    }
}
