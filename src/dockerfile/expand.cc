#include "dockerfile/expand.h"

#include <utility>

#include "dockerfile/hinted.h"
#include "dockerfile/runes.h"
#include "dockerfile/shell_pattern.h"

namespace varve::dockerfile {
namespace {

constexpr int kMaxDepth = 100;
constexpr size_t kMaxResult = size_t{64} << 20;

// `$@ $* $# $? $- $$ $! $0` are names of one character.
bool IsSpecialParameter(char32_t rune) {
  return rune < 0x80 && std::string_view("@*#?-$!0").find(static_cast<char>(rune)) != std::string_view::npos;
}

// Collects words while text is added.
class WordSplitter {
 public:
  explicit WordSplitter(std::string& buffer) : buffer_(buffer) {}

  void AddRaw(std::string_view text) {
    buffer_ += text;
    in_word_ = true;
  }
  void AddSplitting(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
      Rune rune = DecodeRune(text, at);
      if (!IsSpace(rune.value)) {
        AddRaw(text.substr(at, rune.size));
      } else if (in_word_ && !buffer_.empty()) {
        Flush();
      }
      at += rune.size;
    }
  }
  std::vector<std::string> Take() {
    if (!buffer_.empty()) Flush();
    return std::move(words_);
  }

 private:
  void Flush() {
    words_.push_back(std::move(buffer_));
    buffer_.clear();
    in_word_ = false;
  }

  std::string& buffer_;
  std::vector<std::string> words_;
  bool in_word_ = false;
};

class Expander {
 public:
  Expander(std::string_view word, const GetVariable& get, const ExpandOptions& options)
      : in_(word), get_(get), options_(options), raw_escapes_(options.raw_escapes) {}

  Result<Expansion> Run() {
    auto text = Until(kEnd, raw_escapes_, &result_.words);
    if (!text) {
      return std::move(text).error().With(fmt::format("failed to process {}", Quote(in_)));
    }
    result_.text = std::move(*text);
    return std::move(result_);
  }

 private:
  Rune Peek() const { return DecodeRune(in_, at_); }
  char32_t PeekValue() const { return Peek().value; }
  std::string_view Next() {
    std::string_view bytes = in_.substr(at_, Peek().size);
    at_ += bytes.size();
    return bytes;
  }
  bool AtEnd() const { return at_ >= in_.size(); }

  // Text up to `stop` (consumed) or, for kEnd, the end.
  Result<std::string> Until(char32_t stop, bool raw_escapes, std::vector<std::string>* words = nullptr) {
    if (++depth_ > kMaxDepth) {
      return Invalid("substitutions are nested more than {} deep", kMaxDepth);
    }
    bool saved = std::exchange(raw_escapes_, raw_escapes);
    auto result = UntilInner(stop, words);
    raw_escapes_ = saved;
    --depth_;
    return result;
  }

  Result<std::string> UntilInner(char32_t stop, std::vector<std::string>* words) {
    std::string out;
    // One buffer for all levels: a word operator makes the text before it in the same word vanish
    // from `words` (a${B:-c} gives "c"). That is the reference's behaviour, recorded in its
    // vectors; here-document heads and EXPOSE see it.
    word_buffer_.clear();
    WordSplitter splitter(word_buffer_);
    auto finish = [&] {
      std::vector<std::string> split = splitter.Take();
      if (words != nullptr) *words = std::move(split);
    };
    while (!AtEnd()) {
      char32_t rune = PeekValue();
      if (rune == stop) {
        Next();
        finish();
        return out;
      }
      if (rune == '$') {
        TRY_ASSIGN(std::string value, Dollar());
        out += value;
        splitter.AddSplitting(value);
      } else if (rune == '<') {
        std::string head = HeredocOperator();
        out += head;
        splitter.AddRaw(head);
      } else if ((rune == '\'' || rune == '"') && !options_.skip_quotes) {
        TRY_ASSIGN(std::string quoted, rune == '"' ? DoubleQuoted() : SingleQuoted());
        out += quoted;
        splitter.AddRaw(quoted);
      } else if (rune == static_cast<unsigned char>(options_.escape)) {
        std::string_view escape = Next();
        if (raw_escapes_) {
          out += escape;
          splitter.AddRaw(escape);
        }
        std::string_view escaped = Next();
        if (escaped.empty()) break;
        out += escaped;
        splitter.AddRaw(escaped);
      } else {
        std::string_view bytes = Next();
        out += bytes;
        splitter.AddSplitting(bytes);
      }
      if (out.size() > kMaxResult) return Invalid("the result has more than 64 MiB");
    }
    if (stop != kEnd) {
      return Invalid("unexpected end of statement while looking for matching {}", static_cast<char>(stop));
    }
    finish();
    return out;
  }

  Result<std::string> SingleQuoted() {
    std::string out;
    std::string_view quote = Next();
    if (options_.raw_quotes) out += quote;
    while (!AtEnd()) {
      std::string_view bytes = Next();
      if (bytes == "'") {
        if (options_.raw_quotes) out += bytes;
        return out;
      }
      out += bytes;
    }
    return Hinted(Invalid("unexpected end of statement while looking for matching single-quote"),
                  "close the quote, or write \\' for the character");
  }

  // $ works; the escape character works before ", $ and itself.
  Result<std::string> DoubleQuoted() {
    std::string out;
    std::string_view quote = Next();
    if (options_.raw_quotes) out += quote;
    while (!AtEnd()) {
      if (PeekValue() == '$') {
        TRY_ASSIGN(std::string value, Dollar());
        out += value;
        if (out.size() > kMaxResult) return Invalid("the result has more than 64 MiB");
        continue;
      }
      std::string_view bytes = Next();
      if (bytes == "\"") {
        if (options_.raw_quotes) out += bytes;
        return out;
      }
      if (bytes[0] == options_.escape) {
        if (raw_escapes_) out += bytes;
        char32_t next = PeekValue();
        if (next == kEnd) break;
        if (next == '"' || next == '$' || next == static_cast<unsigned char>(options_.escape)) {
          bytes = Next();
        }
      }
      out += bytes;
    }
    return Hinted(Invalid("unexpected end of statement while looking for matching double-quote"),
                  "close the quote, or write \\\" for the character");
  }

  // Blanks behind << belong to the here-document's word.
  std::string HeredocOperator() {
    std::string out(Next());
    if (PeekValue() != '<') return out;
    out += Next();
    while (PeekValue() == ' ' || PeekValue() == '\t' || PeekValue() == '\r') out += Next();
    return out;
  }

  std::string Name() {
    size_t start = at_;
    Rune first = Peek();
    if (IsDigit(first.value)) {
      while (IsDigit(PeekValue())) Next();
    } else if (IsSpecialParameter(first.value)) {
      Next();
    } else {
      while (IsLetter(PeekValue()) || IsDigit(PeekValue()) || PeekValue() == '_') Next();
    }
    return std::string(in_.substr(start, at_ - start));
  }

  std::optional<std::string> Get(const std::string& name) {
    std::optional<std::string> value = get_(name);
    (value ? result_.matched : result_.unmatched).insert(name);
    return value;
  }

  Result<std::string> Dollar() {
    Next();
    if (PeekValue() != '{') {
      std::string name = Name();
      if (name.empty()) return std::string("$");
      std::optional<std::string> value = Get(name);
      if (!value && options_.skip_unset) return "$" + name;
      return std::move(value).value_or("");
    }
    Next();
    if (AtEnd()) {
      return Hinted(Invalid("syntax error: missing '}}'"), "write a lone $ as \\$");
    }
    char32_t head = PeekValue();
    if (head == '{' || head == '}' || head == ':') {
      return Hinted(Invalid("syntax error: bad substitution"), "a name belongs behind ${, or a \\ in front of it");
    }
    std::string name = Name();
    std::string modifier(AtEnd() ? "\uFFFD" : Next());
    if (modifier == "}") {
      std::optional<std::string> value = Get(name);
      if (!value && options_.skip_unset) return "${" + name + "}";
      return std::move(value).value_or("");
    }
    if (modifier == "/") return Replace(name);
    if (modifier == ":") modifier += AtEnd() ? "\uFFFD" : Next();
    else if (std::string_view("+-?#%").find(modifier) == std::string_view::npos) {
      return Unsupported(modifier);
    }
    return Modified(name, modifier);
  }

  static Error Unsupported(std::string_view modifier) {
    bool at_end = modifier.ends_with("\uFFFD");
    return Hinted(Invalid("unsupported modifier ({}) in substitution", modifier),
                  at_end ? "the } is missing" : "behind the name there can be :- - :+ + :? ? # ## % %% / and //");
  }

  // Whatever went wrong, an operand that runs to the end lacks its delimiter first of all.
  Result<std::string> Operand(char32_t stop, bool raw_escapes, std::string_view missing) {
    auto operand = Until(stop, raw_escapes);
    if (!operand && depth_ <= kMaxDepth && AtEnd())
      return Hinted(Invalid("syntax error: missing {}", missing),
                    "write ${NAME-WORD} or ${NAME/PATTERN/REPLACEMENT}, each with its ends");
    return operand;
  }

  Result<std::string> Modified(const std::string& name, const std::string& modifier) {
    bool null_is_unset = modifier.size() > 1;
    char kind = modifier.size() > (null_is_unset ? 2u : 1u) ? '\0' : modifier.back();
    bool pattern = kind == '#' || kind == '%';
    if (null_is_unset && pattern) return Unsupported(modifier);
    TRY_ASSIGN(std::string word, Operand('}', pattern, "'}'"));
    std::optional<std::string> value = Get(name);
    if (!value && options_.skip_unset) return "${" + name + modifier + word + "}";
    bool usable = value && !(null_is_unset && value->empty());
    switch (kind) {
      case '-':
        return usable ? *value : word;
      case '+':
        return usable ? word : std::string();
      case '?':
        if (usable) return *value;
        if (word.empty()) word = value ? "is not allowed to be empty" : "is not allowed to be unset";
        return Hinted(Invalid("{}: {}", name, word), fmt::format("pass --build-arg {}=VALUE, if it is an ARG", name));
      case '#':
      case '%': {
        bool longest = word.starts_with(kind);
        if (longest) word.erase(0, 1);
        return kind == '#' ? TrimPatternPrefix(word, value.value_or(""), longest)
                           : TrimPatternSuffix(word, value.value_or(""), longest);
      }
      default:
        return Unsupported(modifier);
    }
  }

  Result<std::string> Replace(const std::string& name) {
    bool all = PeekValue() == '/';
    if (all) Next();
    TRY_ASSIGN(std::string pattern, Operand('/', true, "'/' in ${}"));
    TRY_ASSIGN(std::string replacement, Operand('}', true, "'}'"));
    std::optional<std::string> value = Get(name);
    if (!value && options_.skip_unset) {
      return "${" + name + "/" + pattern + "/" + replacement + "}";
    }
    return ReplacePattern(pattern, value.value_or(""), replacement, all);
  }

  std::string_view in_;
  const GetVariable& get_;
  ExpandOptions options_;
  size_t at_ = 0;
  bool raw_escapes_;
  int depth_ = 0;
  std::string word_buffer_;
  Expansion result_;
};

}  // namespace

Result<Expansion> ProcessWord(std::string_view word, const GetVariable& get, const ExpandOptions& options) {
  return Expander(word, get, options).Run();
}

Result<std::vector<std::string>> ProcessWords(std::string_view word, const GetVariable& get,
                                              const ExpandOptions& options) {
  TRY_ASSIGN(Expansion expansion, ProcessWord(word, get, options));
  return std::move(expansion.words);
}

const GetVariable& NoVariables() {
  static const GetVariable none = [](std::string_view) { return std::nullopt; };
  return none;
}

}  // namespace varve::dockerfile
