// Which values should not be shown, judged by name and look. For explanations and history, which
// people paste into issues: a value too many that is hidden costs less than one that is not.
#pragma once

#include <string>
#include <string_view>

namespace varve {

inline constexpr std::string_view kHidden = "(hidden)";

// "NPM_TOKEN", "db.password", "SIGNING_KEY"; not "AUTHOR", "KEYBOARD", "TOKENIZER".
bool NameLooksSecret(std::string_view name);
// Tokens with a known prefix, private keys, URLs with a password, long random words.
bool ValueLooksSecret(std::string_view value);

// The value, or kHidden.
std::string Redacted(std::string_view name, std::string_view value);
// A command with the words replaced that look secret: values of NAME=VALUE as Redacted, other words by
// their look.
std::string RedactedText(std::string_view text);

}  // namespace varve
