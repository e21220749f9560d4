#include "base/redact.h"

#include <gtest/gtest.h>

namespace varve {
namespace {

TEST(Redact, NamesOfSecretsAreKnown) {
  for (const char* name : {"NPM_TOKEN", "token", "githubToken", "DB_PASSWORD", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY",
                           "SIGNING_KEY", "apiKey", "APIKEY", "HTTP_AUTH", "pip.credentials"}) {
    EXPECT_TRUE(NameLooksSecret(name)) << name;
  }
  for (const char* name : {"VERSION", "AUTHOR", "KEYBOARD", "TOKENIZER", "MONKEY", "PATH", "COMPASS", ""}) {
    EXPECT_FALSE(NameLooksSecret(name)) << name;
  }
}

TEST(Redact, ValuesThatLookSecretAreKnown) {
  for (const char* value : {"ghp_abcdefgh1234", "-----BEGIN RSA PRIVATE KEY-----", "https://me:hunter2@example.com/x",
                            "eyJhbGciOiJIUzI1NiJ9.e30", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY9"}) {
    EXPECT_TRUE(ValueLooksSecret(value)) << value;
  }
  for (const char* value :
       {"", "1.2.3", "production", "https://example.com/a@b:c", "/usr/local/sbin:/usr/local/bin:/usr/bin",
        "3f786850e387550fdab836ed7e6dc881de23001b", "sk-", "-O2 -g -fno-omit-frame-pointer"}) {
    EXPECT_FALSE(ValueLooksSecret(value)) << value;
  }
}

TEST(Redact, AnEmptyValueIsNoSecret) {
  EXPECT_EQ(Redacted("TOKEN", ""), "");
  EXPECT_EQ(Redacted("TOKEN", "x"), kHidden);
  EXPECT_EQ(Redacted("V", "x"), "x");
}

TEST(Redact, WordsOfACommandAreHidden) {
  EXPECT_EQ(RedactedText("TOKEN=abc V=1 curl -H \"Authorization: ghp_abcdefgh1234\"\n"),
            "TOKEN=(hidden) V=1 curl -H \"Authorization: (hidden)\"\n");
  EXPECT_EQ(RedactedText("npm ci --prod"), "npm ci --prod");
}

}  // namespace
}  // namespace varve
