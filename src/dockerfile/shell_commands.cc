#include "dockerfile/shell_commands.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace varve::dockerfile {
namespace {

constexpr size_t kMaxNesting = 4;  // of sh -c

// Words after which a command begins.
constexpr std::array<std::string_view, 13> kKeywords = {"if",    "then",  "elif", "else", "fi", "do",  "done",
                                                        "while", "until", "!",    "{",    "}",  "esac"};
// Commands that run the command behind them. Their own flags are dropped with them.
constexpr std::array<std::string_view, 9> kWrappers = {"sudo", "env",   "exec",   "command",  "time",
                                                       "nice", "nohup", "ionice", "eatmydata"};

template <size_t N>
bool IsOneOf(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

bool IsAssignment(std::string_view word) {
  size_t equals = word.find('=');
  if (equals == 0 || equals == word.npos) return false;
  return std::ranges::all_of(word.substr(0, equals), [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

bool IsShell(std::string_view word) {
  std::string_view name = word.substr(word.rfind('/') + 1);
  return name == "sh" || name == "bash" || name == "dash" || name == "ash" || name == "zsh";
}

class Splitter {
 public:
  Splitter(std::string_view text, size_t nesting) : text_(text), nesting_(nesting) {}

  std::vector<ShellCommand> Run() {
    while (at_ < text_.size()) Step();
    EndCommand();
    return std::move(out_);
  }

 private:
  char Peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void Step() {
    char c = Peek();
    if (c == '\\') {
      // A line that goes on, or one character taken as it is.
      if (Peek(1) != '\n' && Peek(1) != '\0') Add(Peek(1));
      at_ += 2;
    } else if (c == '\'') {
      Quoted('\'');
    } else if (c == '"') {
      Quoted('"');
    } else if (c == '`') {
      Substitution(text_.find('`', at_ + 1));
    } else if (c == '$' && Peek(1) == '(') {
      Substitution(EndOfParentheses(at_ + 1));
    } else if (c == '$' && Peek(1) == '{') {
      Substitution(text_.find('}', at_));
    } else if (c == ' ' || c == '\t' || c == '\r') {
      EndWord();
      ++at_;
    } else if (c == '#' && !in_word_) {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '<' || c == '>') {
      Redirection();
    } else if (c == '&' && Peek(1) == '>') {
      ++at_;
      Redirection();
    } else if (c == ';' || c == '|' || c == '&' || c == '\n' || c == '(' || c == ')') {
      EndCommand();
      ++at_;
    } else {
      Add(c);
      ++at_;
    }
  }

  void Add(char c) {
    word_ += c;
    in_word_ = true;
  }

  void Quoted(char quote) {
    in_word_ = true;
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      word_ += text_[at_];
    }
    ++at_;
  }

  // Taken as part of a word, as written: what it runs is for its output, which no rule is about.
  void Substitution(size_t end) {
    end = end == text_.npos ? text_.size() : end + 1;
    word_ += text_.substr(at_, end - at_);
    in_word_ = true;
    at_ = end;
  }

  size_t EndOfParentheses(size_t from) const {
    int depth = 0;
    for (size_t i = from; i < text_.size(); ++i) {
      if (text_[i] == '(') ++depth;
      if (text_[i] == ')' && --depth == 0) return i;
    }
    return text_.npos;
  }

  // [n]< [n]> >> >& <<EOF and the word behind.
  void Redirection() {
    if (word_.find_first_not_of("0123456789") == word_.npos) {
      word_.clear();
      in_word_ = false;
    }
    EndWord();
    while (Peek() == '<' || Peek() == '>' || Peek() == '&' || Peek() == '-') ++at_;
    skip_word_ = true;
    while (Peek() == ' ' || Peek() == '\t') ++at_;
  }

  void EndWord() {
    if (!in_word_) return;
    if (!skip_word_) words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = skip_word_ = false;
  }

  void EndCommand() {
    EndWord();
    skip_word_ = false;
    std::vector<std::string> words = std::move(words_);
    words_.clear();
    // `for x in …` and `case x in` are words, not commands.
    if (!words.empty() && (words[0] == "for" || words[0] == "case" || words[0] == "export")) return;
    auto first = words.begin();
    bool wrapped = false;
    while (first != words.end() && (IsOneOf(kKeywords, *first) || IsAssignment(*first) || IsOneOf(kWrappers, *first) ||
                                    (wrapped && first->starts_with('-')))) {
      wrapped = wrapped || IsOneOf(kWrappers, *first);
      ++first;
    }
    words.erase(words.begin(), first);
    if (words.empty()) return;
    if (IsShell(words[0]) && nesting_ < kMaxNesting) {
      for (size_t i = 1; i + 1 < words.size(); ++i) {
        bool is_command = words[i].starts_with('-') && words[i].ends_with('c');
        if (!is_command) continue;
        for (ShellCommand& inner : Splitter(words[i + 1], nesting_ + 1).Run()) {
          out_.push_back(std::move(inner));
        }
        return;
      }
    }
    out_.push_back({std::move(words)});
  }

  std::string_view text_;
  size_t nesting_;
  size_t at_ = 0;
  std::string word_;
  bool in_word_ = false;
  bool skip_word_ = false;  // the word behind a redirection
  std::vector<std::string> words_;
  std::vector<ShellCommand> out_;
};

}  // namespace

bool ShellCommand::Has(std::string_view word) const { return std::ranges::find(words, word) != words.end(); }

std::vector<ShellCommand> SplitShell(std::string_view text) { return Splitter(text, 0).Run(); }

std::vector<ShellCommand> CommandsOf(const Run& run) {
  std::vector<ShellCommand> out;
  if (run.command.shell_form) {
    if (!run.command.args.empty()) out = SplitShell(run.command.args[0]);
  } else if (run.command.args.size() >= 3 && IsShell(run.command.args[0])) {
    out = SplitShell(run.command.args.back());
  } else if (!run.command.args.empty()) {
    out.push_back({run.command.args});
  }
  for (const Heredoc& document : run.heredocs) {
    // A body that is fed to another program (cat <<EOF >file) is that program's, not the shell's.
    bool is_script = out.empty() || (out.size() == 1 && IsShell(out[0].name()));
    if (!is_script) continue;
    for (ShellCommand& command : SplitShell(document.Body())) out.push_back(std::move(command));
  }
  return out;
}

}  // namespace varve::dockerfile
