/// UUIDs as text.
public enum UUIDText {
    /// A random UUID (version 4, RFC 9562) made from 16 random bytes; missing bytes count as zero.
    public static func version4(_ random: [UInt8]) -> String {
        var bytes = Array(random.prefix(16))
        bytes += repeatElement(0, count: 16 - bytes.count)
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        var text = ""
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return text
    }
}
