// berth completion: scripts for shells, made from the commands and options that there are.
#include "base/strings.h"
#include "cli/command.h"
#include "cli/output.h"

namespace berth::cli {
namespace {

// The words after which the name of a container or of an image stands.
constexpr char kContainerCommands[] = "exec|inspect|logs|rm|stop";
constexpr char kImageCommands[] = "export|push|rmi|run|tag";
// Names come from the daemon; without one there are none.
constexpr char kListContainers[] =
    "berth ps -a 2>/dev/null | sed -n '2,$s/^[^ ]*  *\\([^ ]*\\).*/\\1/p'";
constexpr char kListImages[] =
    "berth images 2>/dev/null | sed -n '2,$s/^\\([^ ]*\\)  *\\([^ ]*\\).*/\\1:\\2/p'";

std::vector<const CLI::App*> Commands(const Cli& cli) {
  return cli.app.get_subcommands([](const CLI::App*) { return true; });
}

std::string OptionWords(const CLI::App* command) {
  std::vector<std::string> words;
  for (const CLI::Option* option : command->get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
    for (const std::string& name : option->get_snames()) words.push_back("-" + name);
  }
  return Join(words, " ");
}

std::string CommandWords(const Cli& cli) {
  std::vector<std::string> words;
  for (const CLI::App* command : Commands(cli)) words.push_back(command->get_name());
  return Join(words, " ");
}

// The part that bash and zsh have in common: sets `words` by `$1` (the command) and `$2` (the
// word).
std::string ShellCase(const Cli& cli) {
  std::string out = "  case \"$2\" in\n  -*) case \"$1\" in\n";
  for (const CLI::App* command : Commands(cli)) {
    out += StrCat("    ", command->get_name(), ") list='", OptionWords(command), "' ;;\n");
  }
  out += "    esac ;;\n  *) case \"$1\" in\n";
  out += StrCat("    '') list='", CommandWords(cli), "' ;;\n");
  out += StrCat("    ", kContainerCommands, ") list=$(", kListContainers, ") ;;\n");
  out += StrCat("    ", kImageCommands, ") list=$(", kListImages, ") ;;\n");
  out += "    completion) list='bash zsh fish' ;;\n    esac ;;\n  esac\n";
  return out;
}

std::string Bash(const Cli& cli) {
  return StrCat("_berth_words() {\n", ShellCase(cli),
                "}\n_berth() {\n  local list command=\n"
                "  [ \"$COMP_CWORD\" -gt 1 ] && command=${COMP_WORDS[1]}\n"
                "  _berth_words \"$command\" \"${COMP_WORDS[COMP_CWORD]}\"\n"
                "  COMPREPLY=($(compgen -W \"$list\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
                "}\ncomplete -o default -F _berth berth\n");
}

std::string Zsh(const Cli& cli) {
  return StrCat("#compdef berth\n_berth_words() {\n", ShellCase(cli),
                "}\n_berth() {\n  local list command=\n"
                "  (( CURRENT > 2 )) && command=$words[2]\n"
                "  _berth_words \"$command\" \"$words[CURRENT]\"\n"
                "  compadd -- ${=list}\n}\ncompdef _berth berth\n");
}

std::string FishQuote(const std::string& text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string Fish(const Cli& cli) {
  std::string out = "complete -c berth -f\n";
  for (const CLI::App* command : Commands(cli)) {
    const std::string& name = command->get_name();
    out += StrCat("complete -c berth -n __fish_use_subcommand -a ", name, " -d ",
                  FishQuote(command->get_description()), "\n");
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_lnames().empty()) continue;
      out +=
          StrCat("complete -c berth -n '__fish_seen_subcommand_from ", name, "' -l ",
                 option->get_lnames().front(), " -d ", FishQuote(option->get_description()), "\n");
    }
  }
  const std::vector<std::pair<std::string, std::string>> lists = {
      {kContainerCommands, kListContainers}, {kImageCommands, kListImages}};
  for (const auto& [commands, list] : lists) {
    std::string names = commands;
    for (char& c : names) c = c == '|' ? ' ' : c;
    out += StrCat("complete -c berth -n '__fish_seen_subcommand_from ", names, "' -a ",
                  FishQuote(StrCat("(", list, ")")), "\n");
  }
  return out + "complete -c berth -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n";
}

Result<int> Completion(const Cli& cli, const std::string& shell) {
  RETURN_IF_ERROR(Print(shell == "bash" ? Bash(cli) : shell == "zsh" ? Zsh(cli) : Fish(cli)));
  return 0;
}

}  // namespace

void AddCompletionCommand(Cli& cli) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = cli.app.add_subcommand(
      "completion", "Print a script that completes berth's commands in a shell");
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback(
      [&cli, shell] { cli.action = [&cli, shell](Client&) { return Completion(cli, *shell); }; });
}

}  // namespace berth::cli
