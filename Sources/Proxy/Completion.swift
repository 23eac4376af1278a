/// What a shell needs to complete `skein-proxy`'s command line.
///
/// The flags are those of the help texts, so that none is forgotten.
public enum Completion {
    /// The shells there is something for.
    public static let shells = ["bash", "zsh", "fish"]

    /// The script for a shell; nil when the shell is unknown.
    public static func script(for shell: String) -> String? {
        let main = flags(in: Options.help)
        let explain = flags(in: ExplainCommand.help)
        switch shell {
        case "bash": return bash(main, explain)
        case "zsh": return "autoload -U +X bashcompinit && bashcompinit\n" + bash(main, explain)
        case "fish": return fish(main, explain)
        default: return nil
        }
    }

    /// The flags that a help text names, each once, in their order.
    static func flags(in help: String) -> [String] {
        var flags: [String] = []
        for word in help.split(whereSeparator: { " ,\n()[]".contains($0) }) where word.first == "-" {
            let flag = String(word.prefix { $0 != "=" && $0 != "…" && $0 != ";" && $0 != ":" })
            let name = flag.drop { $0 == "-" }
            guard !name.isEmpty, name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "-" }), !flags.contains(flag)
            else { continue }
            flags.append(flag)
        }
        return flags
    }

    private static let words: [(flag: String, words: String)] = [
        ("--mode", "serve validate init_only"), ("--defaults", "hardened envoy"),
        ("--drain-strategy", "gradual immediate"), ("--log-level", "trace debug info warning error critical off"),
        ("-l", "trace debug info warning error critical off"), ("--output", "text json"), ("-o", "text json"),
    ]
    private static let files = ["-c", "--config-path", "--log-path", "--admin-address-path"]

    private static func bash(_ main: [String], _ explain: [String]) -> String {
        var cases = ""
        for (flag, words) in words {
            cases += "    \(flag)) COMPREPLY=($(compgen -W '\(words)' -- \"$word\")); return ;;\n"
        }
        cases += "    \(files.joined(separator: "|"))) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
        return """
            _skein_proxy() {
              local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
              case $before in
            \(cases)    completion) COMPREPLY=($(compgen -W '\(shells.joined(separator: " "))' -- "$word")); return ;;
              esac
              if [ "${COMP_WORDS[1]}" = explain ]; then
                COMPREPLY=($(compgen -W '\(explain.joined(separator: " "))' -- "$word"))
              elif [ "$COMP_CWORD" = 1 ]; then
                COMPREPLY=($(compgen -W 'explain completion \(main.joined(separator: " "))' -- "$word"))
              else
                COMPREPLY=($(compgen -W '\(main.joined(separator: " "))' -- "$word"))
              fi
            }
            complete -o filenames -F _skein_proxy skein-proxy

            """
    }

    private static func fish(_ main: [String], _ explain: [String]) -> String {
        var text = "complete -c skein-proxy -f\n"
        text += "complete -c skein-proxy -n __fish_use_subcommand -a 'explain completion'\n"
        text +=
            "complete -c skein-proxy -n '__fish_seen_subcommand_from completion' -a '\(shells.joined(separator: " "))'\n"
        func add(_ flags: [String], _ condition: String) {
            for flag in flags {
                let kind = flag.hasPrefix("--") ? "-l \(flag.dropFirst(2))" : "-s \(flag.dropFirst())"
                var line = "complete -c skein-proxy -n '\(condition)' \(kind)"
                if let words = words.first(where: { $0.flag == flag })?.words { line += " -x -a '\(words)'" }
                if files.contains(flag) { line += " -r -F" }
                text += line + "\n"
            }
        }
        add(main, "not __fish_seen_subcommand_from explain completion")
        add(explain, "__fish_seen_subcommand_from explain")
        return text
    }
}
