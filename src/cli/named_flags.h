// The flags that a command line names, and no others.
//
// CLI11 compares each flag that is defined with all before it, and makes two objects of it: the 90 flags of
// `varve build` and the 20 subcommands were a third of all instructions of a build that finds everything cached.
// So a line is read with what it may name, first; where that fails, and for the help, with all there is.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace varve::cli {

// The words of a command line, as names of flags and subcommands.
class NamedWords {
 public:
  NamedWords(int argc, char** argv);

  bool HasWord(std::string_view word) const { return words_.contains(word); }
  // `names` as CLI11 takes them: "-f,--file", "--trace,!--no-trace", "--fail-on-cache-miss{*}". A positional,
  // "context", may be any word. Says yes too often rather than not often enough: of "-abc" each letter counts.
  bool MayName(std::string_view names) const;

 private:
  std::set<std::string_view> words_;  // of "--flag=value", "--flag"
  std::string letters_;               // of words with one dash
};

// What add_option and its like return: CLI::Option's setters, without effect where the line has no such flag.
class NamedFlag {
 public:
  explicit NamedFlag(CLI::Option* option) : option_(option) {}
  NamedFlag* operator->() { return this; }
  NamedFlag& allow_extra_args(bool allow) {
    if (option_ != nullptr) option_->allow_extra_args(allow);
    return *this;
  }
  NamedFlag& expected(int count) {
    if (option_ != nullptr) option_->expected(count);
    return *this;
  }
  NamedFlag& group(const std::string& name) {
    if (option_ != nullptr) option_->group(name);
    return *this;
  }

 private:
  CLI::Option* const option_;
};

// An app to which flags are added, but those alone that the line may name.
class NamedFlags {
 public:
  // `words` null: all of them.
  NamedFlags(CLI::App& app, const NamedWords* words) : app_(app), words_(words) {}
  // Of --help, for the flags that come next.
  void begin_group(const std::string& name) { app_.option_defaults()->group(name); }

  template <class... Arguments>
  NamedFlag add_option(const char* names, Arguments&&... arguments) {
    return NamedFlag(Wanted(names) ? app_.add_option(names, std::forward<Arguments>(arguments)...) : nullptr);
  }
  template <class Value, class... Arguments>
  NamedFlag add_option_function(const char* names, Arguments&&... arguments) {
    return NamedFlag(Wanted(names) ? app_.add_option_function<Value>(names, std::forward<Arguments>(arguments)...)
                                   : nullptr);
  }
  template <class... Arguments>
  NamedFlag add_flag(const char* names, Arguments&&... arguments) {
    return NamedFlag(Wanted(names) ? app_.add_flag(names, std::forward<Arguments>(arguments)...) : nullptr);
  }
  // Flags that take their value from an environment variable where the line does not say it.
  template <class... Arguments>
  NamedFlag add_option_with_variable(const char* variable, const char* names, Arguments&&... arguments) {
    if (!Wanted(names) && std::getenv(variable) == nullptr) return NamedFlag(nullptr);
    return NamedFlag(app_.add_option(names, std::forward<Arguments>(arguments)...)->envname(variable));
  }
  template <class... Arguments>
  NamedFlag add_flag_with_variable(const char* variable, const char* names, Arguments&&... arguments) {
    if (!Wanted(names) && std::getenv(variable) == nullptr) return NamedFlag(nullptr);
    return NamedFlag(app_.add_flag(names, std::forward<Arguments>(arguments)...)->envname(variable));
  }

 private:
  bool Wanted(const char* names) const { return words_ == nullptr || words_->MayName(names); }

  CLI::App& app_;
  const NamedWords* const words_;
};

}  // namespace varve::cli
