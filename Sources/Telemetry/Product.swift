/// What this is called and which one it is, told alike by every program.
public enum Product {
    /// The version: `MAJOR.MINOR.PATCH`, the topmost one in CHANGELOG.md.
    public static let version = "0.1.0"
}
