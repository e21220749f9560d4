#include "cli/help_text.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::cli {

namespace {

constexpr size_t kNames = 28;   // columns of the names, with their margin
constexpr size_t kWidth = 100;  // of a line

// Characters, not bytes: descriptions have "…" in them.
size_t WidthOf(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string Entry(const std::string& names, std::string_view description) {
  std::string out = "  " + names;
  size_t column = WidthOf(out);
  if (column >= kNames) out += "\n", column = 0;
  out += std::string(kNames - column, ' ');
  column = kNames;
  for (const std::string& word : Split(description, ' ')) {
    if (column > kNames && column + 1 + WidthOf(word) > kWidth) {
      out += "\n" + std::string(kNames, ' ');
      column = kNames;
    }
    if (column > kNames) out += " ", ++column;
    out += word;
    column += WidthOf(word);
  }
  return out + "\n";
}

// "-q, --quiet": CLI11's "-q,--quiet" without "{false}", the value that a flag stands for.
std::string NamesOf(const CLI::Option& option, bool is_positional) {
  std::string out;
  bool inside = false;
  for (char c : option.get_name(is_positional, !is_positional)) {
    inside = (inside || c == '{') && c != '}';
    if (inside || c == '}') continue;
    out += c == ',' ? std::string(", ") : std::string(1, c);
  }
  return out;
}

// " VALUE", or what the option itself calls it; with "..." where it may stand several times.
std::string ValueOf(const CLI::Option& option) {
  if (option.get_type_size() == 0) return "";
  std::string type = option.get_type_name();
  // Checks append their own: "TEXT:{text,json}".
  if (type.starts_with("TEXT:")) type = type.substr(5);
  if (type == "TEXT") type = "VALUE";
  if (type.starts_with("INT")) type = "N";
  const bool many = option.get_expected_max() == CLI::detail::expected_max_vector_size;
  return " " + type + (many ? "..." : "");
}

}  // namespace

std::string HelpText::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const {
  std::string text = Formatter::make_help(app, std::move(name), mode);
  while (text.ends_with("\n\n")) text.pop_back();
  return ReplaceAll(text, "\n\n\n", "\n\n");
}

std::string HelpText::make_option(const CLI::Option* option, bool is_positional) const {
  std::string description = option->get_description();
  if (!option->get_default_str().empty()) description += fmt::format(" (default: {})", option->get_default_str());
  if (!option->get_envname().empty()) description += fmt::format(" (or ${})", option->get_envname());
  return Entry(NamesOf(*option, is_positional) + (is_positional ? "" : ValueOf(*option)), description);
}

std::string HelpText::make_subcommand(const CLI::App* command) const {
  return Entry(command->get_display_name(true), command->get_description());
}

}  // namespace varve::cli
