#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/strings.h"
#include "cli/help_text.h"
#include "cli/named_flags.h"
#include "job/version.h"

namespace varve::cli {

namespace {

void AddGlobals(CLI::App& app, job::GlobalFlags& global) {
  app.add_option("--root", global.root,
                 "State directory (default: $VARVE_ROOT, else "
                 "/var/lib/varve for root)");
  app.add_flag("-D,--debug", global.debug, "Log what varve does to stderr");
}

// The innermost subcommand that was named.
const CLI::App& Chosen(const CLI::App& app) {
  auto chosen = app.get_subcommands();
  return chosen.empty() ? app : Chosen(*chosen[0]);
}

// "varve history ls".
std::string PathOf(const CLI::App& app) {
  std::string path = app.get_name();
  for (const CLI::App* at = app.get_parent(); at != nullptr; at = at->get_parent()) {
    path = at->get_name() + " " + path;
  }
  return path;
}

// What CLI11 says of a bad command line, or better: the flag or the command that was nearly meant.
Error UsageError(const CLI::ParseError& e, const CLI::App& app, int argc, char** argv) {
  const CLI::App& chosen = Chosen(app);
  std::vector<std::string> flags, commands;
  for (const CLI::Option* option : chosen.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  for (const CLI::App* command : chosen.get_subcommands({})) {
    if (!command->get_group().empty()) commands.push_back(command->get_name());
  }

  for (int i = 1; i < argc; ++i) {
    std::string word = Split(argv[i], '=')[0];
    if (word == "--") break;
    if (!word.starts_with("--") || std::ranges::find(flags, word) != flags.end()) continue;
    std::vector<std::string_view> views(flags.begin(), flags.end());
    if (auto near = NearestWord(word, views)) {
      Error error = Invalid("unknown flag {}", word);
      error.hint = fmt::format("did you mean {}?", *near);
      return error;
    }
  }
  bool unknown =
      dynamic_cast<const CLI::ExtrasError*>(&e) != nullptr || dynamic_cast<const CLI::RequiredError*>(&e) != nullptr;
  if (!commands.empty() && unknown) {
    std::vector<std::string_view> views(commands.begin(), commands.end());
    // With fallthrough the words that a subcommand does not know are its parents'.
    for (const std::string& word : app.remaining(/*recurse=*/true)) {
      if (word.starts_with('-')) continue;
      Error error = Invalid("unknown command \"{}\"", word);
      auto near = NearestWord(word, views);
      error.hint =
          near ? fmt::format("did you mean {}?", *near) : fmt::format("{} --help lists the commands", PathOf(chosen));
      return error;
    }
  }
  Error error = Invalid("{}", e.what());
  error.hint = fmt::format("see {} --help", PathOf(chosen));
  return error;
}

// With what `words` may name, or with everything.
Result<CommandLine> Parse(int argc, char** argv, const NamedWords* words) {
  CommandLine line;
  CLI::App app("varve builds container images; its product is the cache.", "varve");
  app.formatter(std::make_shared<HelpText>());
  app.set_version_flag("-v,--version", std::string("varve ") + job::kVersion);
  app.require_subcommand(0, 1);
  AddGlobals(app, line.global);

  for (const CommandEntry& entry : Commands()) {
    if (words != nullptr && !words->HasWord(entry.name) && !words->HasWord(entry.alias)) continue;
    CLI::App* sub = app.add_subcommand(entry.name, entry.description);
    if (entry.alias[0] != '\0') sub->alias(entry.alias);
    // Also below a subcommand of a subcommand: `varve history ls --root DIR`.
    sub->fallthrough();
    // Only the command that the line names: to define the flags of all took 2 ms of a build's 10.
    sub->preparse_callback([&line, &entry, sub, words](size_t) {
      AddGlobals(*sub, line.global);
      line.command = entry.make();
      line.command->SetWords(words);
      line.command->Define(*sub);
    });
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return CommandLine{line.global, nullptr, app.help()};
  } catch (const CLI::CallForVersion&) {
    return CommandLine{line.global, nullptr, std::string("varve ") + job::kVersion + "\n"};
  } catch (const CLI::ParseError& e) {
    return UsageError(e, app, argc, argv);
  }
  if (!line.command) {
    line.message = app.help();
    return line;
  }
  line.command->SetWords(nullptr);
  TRY(line.command->Check());
  return line;
}

}  // namespace

Result<CommandLine> ParseCommandLine(int argc, char** argv) {
  const NamedWords words(argc, argv);
  auto line = Parse(argc, argv, &words);
  // What is wrong with a line is best said with all flags known; a help lists them.
  if (line && line->command) return line;
  return Parse(argc, argv, nullptr);
}

}  // namespace varve::cli
