//! Turns that say nothing by themselves: `ok`, `yes please`, `mach weiter`, `👍`. What they ask for stands in a turn before.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Longer turns say something.
const BYTES_MAX: usize = 80;
/// More words do as well.
const WORDS_MAX: usize = 6;

/// Whether a turn only agrees, declines, thanks, greets or says to go on, in one of two dozen languages; or has no word
/// at all but some sign, or a number, as who picks an option does. Nothing at all is no such turn.
pub fn says_nothing(turn: &str) -> bool {
    let turn = turn.trim();
    if turn.len() > BYTES_MAX || turn.trim_matches('"').is_empty() {
        return false;
    }
    let mut words = turn.split(|c: char| !(c.is_alphanumeric() || is_joined(c))).filter(|word| !word.is_empty());
    words.by_ref().take(WORDS_MAX).all(is_filler) && words.next().is_none()
}

/// Marks inside words: apostrophes, and the vowels of Devanagari, which are no letters.
fn is_joined(c: char) -> bool {
    matches!(c, '\'' | '’' | '\u{900}'..='\u{94d}')
}

fn is_filler(word: &str) -> bool {
    let word: String = word.chars().filter(|c| !matches!(c, '\'' | '’')).flat_map(char::to_lowercase).collect();
    static WORDS: LazyLock<HashSet<&str>> =
        LazyLock::new(|| FILLERS.iter().flat_map(|of_language| of_language.split(' ')).collect());
    word.chars().all(char::is_numeric) || WORDS.contains(&*word)
}

/// By language; without apostrophes.
const FILLERS: [&str; 26] = [
    // English
    "ok okay okey okie k kk yes yeah yea yep yup ya y no nope nah n sure fine good great perfect nice cool awesome \
     excellent thanks thank you thx ty cheers please pls plz do it that this so go on ahead for continue proceed resume \
     next more again and then now right correct exactly alright agreed done hi hello hey there lets keep going carry \
     sounds looks lgtm ack got understood see i hmm hm uh oh ah wow absolutely definitely course of both all either \
     whatever as like step works thats",
    // German
    "ja jep jo nein nö danke dank vielen bitte weiter weitermachen mach machen fortfahren fahr fort gut super prima \
     genau klar gern gerne passt alles los doch einverstanden hallo das es so jawohl stimmt richtig verstanden schön tu",
    // French
    "oui non merci continue continuez poursuis poursuivez vas allez y daccord parfait bien beaucoup sil te vous plaît \
     plait bonjour salut fais le suivant suite ouais cest bon ça va exact très",
    // Spanish
    "sí si gracias muchas vale continúa continua continúe sigue siga adelante hazlo por favor perfecto bueno bien claro \
     de acuerdo hola listo dale está esta muy",
    // Portuguese
    "sim não nao obrigado obrigada muito pode segue prossiga prossegue continuar certo beleza bem perfeito olá ola faça",
    // Italian
    "sì grazie mille vai avanti procedi per favore perfetto bene certo va fallo ciao esatto prosegui daccordo",
    // Dutch
    "ja nee dank je jij u ga door verder prima goed graag alsjeblieft alstublieft doe maar oke oké hoi bedankt",
    // Swedish
    "nej tack fortsätt gärna okej bra hej precis kör gör det så",
    // Danish
    "tak fortsæt gerne fint godt ja endelig gør",
    // Norwegian
    "takk fortsett gjerne greit fint gjør det",
    // Finnish
    "kyllä joo ei kiitos jatka selvä hyvä moi ole niin",
    // Polish
    "tak nie dzięki dziękuję dalej kontynuuj proszę dobrze jasne cześć zrób to",
    // Czech
    "ano ne díky děkuji pokračuj pokračujte prosím dobře jasně ahoj",
    // Hungarian
    "igen nem köszönöm köszi folytasd kérem rendben jó szia tovább",
    // Romanian
    "da nu mulțumesc multumesc continuă bine rog te bună",
    // Turkish
    "evet hayır tamam teşekkürler teşekkür ederim devam et lütfen olur peki merhaba güzel",
    // Russian
    "да нет спасибо продолжай продолжайте дальше хорошо ок окей давай пожалуйста ладно привет так верно согласен",
    // Ukrainian
    "так ні дякую далі продовжуй добре будь ласка гаразд привіт",
    // Greek
    "ναι όχι ευχαριστώ συνέχισε εντάξει παρακαλώ καλά γεια",
    // Arabic
    "نعم لا شكرا شكراً تابع استمر حسنا حسناً أجل تمام موافق من فضلك",
    // Hebrew
    "כן לא תודה המשך תמשיך בסדר בבקשה שלום",
    // Hindi
    "हाँ हां नहीं धन्यवाद जारी रखें रखो ठीक है अच्छा कृपया नमस्ते",
    // Japanese
    "はい いいえ うん ありがとう ありがとうございます 続けて 続けてください 続き お願いします 了解 了解です わかりました 次 次へ \
     どうぞ オーケー こんにちは いいです いいですね",
    // Chinese
    "好 好的 是 是的 对 对的 不 不是 谢谢 继续 请继续 可以 嗯 下一步 行 没问题 你好 同意 好吧 接着 繼續 請繼續 謝謝",
    // Korean
    "네 예 아니요 아니오 감사합니다 고마워 고맙습니다 계속 계속해 계속해줘 계속해주세요 좋아 좋아요 그래 응 다음 안녕하세요",
    // Vietnamese and Indonesian
    "vâng có không cảm ơn tiếp tục được ya tidak terima kasih lanjut lanjutkan baik silakan oke",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(turns: &[&str], expected: bool) {
        for turn in turns {
            assert_eq!(says_nothing(turn), expected, "{turn}");
        }
    }

    #[test]
    fn assent_thanks_and_greetings_say_nothing_in_any_language() {
        check(
            &[
                "ok",
                "Yes!",
                "go on",
                "Thanks :)",
                "continue",
                "please do",
                "yes, please go ahead",
                "👍",
                "…",
                "2",
                "That's right, let's go",
                "ja bitte",
                "Mach weiter",
                "d'accord, continuez",
                "vas-y",
                "sí, adelante",
                "pode continuar",
                "va bene",
                "ga door",
                "tak",
                "devam et",
                "да, продолжай",
                "はい、お願いします",
                "好的，请继续",
                "네, 계속해주세요",
                "ठीक है",
                "تابع من فضلك",
                "\"ok\"",
            ],
            true,
        );
    }

    #[test]
    fn a_turn_that_names_anything_says_something() {
        check(
            &[
                "",
                "\"\"",
                "fix it",
                "yes, drop the table",
                "ok and why did it fail?",
                "translate this",
                "why?",
                "continue with the impact on the ledger",
                "go on go on go on go on",
            ],
            false,
        );
    }
}
