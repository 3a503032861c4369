"""What each code template must do: checks by function, filled with a draw of its parameters as its texts are."""

CHECKS: dict[str, list[str]] = {
    "count_letters": [
        "count_letters('') == 0",
        "count_letters('{letters}'.upper() + '{letters}1') == 2 * len('{letters}')",
    ],
    "is_palindrome": [
        "is_palindrome('')",
        "is_palindrome('1 a2b2a, 1')",
        "not is_palindrome('ab12')",
    ],
    "reverse_words": [
        "reverse_words(' one two  three ') == {sep!r}.join(['three', 'two', 'one'])",
        "reverse_words('') == ''",
    ],
    "capitalize_words": [
        "capitalize_words('the longer A word', 4) == 'the Longer A Word'",
    ],
    "truncate": [
        "truncate('short') == 'short'",
        "truncate('a' * 99, 9) == 'a' * (9 - len({mark!r})) + {mark!r}",
    ],
    "pad_left": [
        "pad_left('ab', 4) == 2 * {fill!r} + 'ab'",
        "pad_left('abc', 2) == 'abc'",
    ],
    "count_long_words": [
        "count_long_words('ab') == 0",
        "count_long_words('x' * {n}) == 1",
    ],
    "longest_word": [
        "longest_word(' ') == {none!r}",
        "longest_word('ab cde f') == 'cde'",
        "longest_word('ab cd') in ('ab', 'cd')",
    ],
    "are_anagrams": [
        "are_anagrams('Dormitory', 'dirty room')",
        "not are_anagrams('aab', 'abb')",
    ],
    "drop_repeats": [
        "drop_repeats('abcb') in ('abc', 'acb')",
        "drop_repeats('aaa') == 'a'",
    ],
    "shift_letters": [
        "shift_letters('xyz A', 3) == 'abc A'",
        "shift_letters(shift_letters('hello'), -{n}) == 'hello'",
    ],
    "mirror_letters": [
        "mirror_letters('abz M!') == 'zya M!'",
    ],
    "encode_runs": [
        "encode_runs('aaa') in ('a3', '3a', 'a*3')",
        "encode_runs('ab') in [{sep!r}.join(x) for x in (['a1', 'b1'], ['1a', '1b'], ['a*1', 'b*1'])]",
    ],
    "decode_runs": [
        "decode_runs('3a1b') == 'aaab'",
        "decode_runs('') == ''",
    ],
    "acronym": [
        "acronym('Annual Assembly', '').lower() == 'aa'",
        "acronym('') == ''",
    ],
    "to_underscores": [
        "to_underscores('lineCountNow') == {sep!r}.join(['line', 'count', 'now'])",
        "to_underscores('Line') == 'line'",
    ],
    "to_humps": [
        "to_humps({sep!r}.join(['line', 'count', 'now'])) == 'lineCountNow'",
    ],
    "without_prefix": [
        "without_prefix('unfold', ['re', 'un']) == 'fold'",
        "without_prefix('fold', ['re']) == 'fold'",
    ],
    "count_overlapping": [
        "count_overlapping('aaaa', 'aa') == 3",
        "count_overlapping('abc', 'd') == 0",
    ],
    "common_prefix": [
        "common_prefix(['inter', 'into', 'in']) == 'in'",
        "common_prefix([]) == ''",
        "common_prefix(['a' * 99]) == 'a' * {n}",
    ],
    "common_ending": [
        "common_ending('station', 'nation') == 'ation'",
        "common_ending('a', 'b') == ''",
    ],
    "count_differences": [
        "count_differences('abcd', 'abd') == 1 + {n}",
        "count_differences('', '') == 0",
    ],
    "mask_digits": [
        "mask_digits('a4b', '#') == 'a#b'",
        "mask_digits('ab') == 'ab'",
    ],
    "extract_numbers": [
        "extract_numbers('x 123, y456') == [123, 456]",
        "extract_numbers('none') == []",
    ],
    "is_whole_number": [
        "is_whole_number('-12')",
        "not is_whole_number('1.5')",
        "not is_whole_number('')",
        "not is_whole_number('1 2')",
    ],
    "wrap_words": [
        "wrap_words('aa bb cc', 5) == ['aa bb', 'cc']",
        "wrap_words('') == []",
    ],
    "split_every": [
        "split_every('abcdef', 3) == ['abc', 'def']",
        "''.join(split_every('abcde', 2)) == 'abcde'",
    ],
    "interleave_texts": [
        "interleave_texts('', 'xy') == 'xy'",
        "sorted(interleave_texts('ace', 'bdfgh')) == list('abcdefgh')",
    ],
    "rotate_text": [
        "rotate_text('abcd', 5) in ('bcda', 'dabc')",
        "rotate_text('') == ''",
    ],
    "count_lines": [
        "count_lines('- a1:\\n\\n') == 1",
        "count_lines('') == 0",
    ],
    "number_lines": [
        "number_lines(['a', 'b'], 3) == ['3' + {sep!r} + 'a', str(3 + {step}) + {sep!r} + 'b']",
    ],
    "indent_lines": [
        "indent_lines('a\\n\\nb', 2) == '{fill[with]}{fill[with]}a\\n\\n{fill[with]}{fill[with]}b'",
    ],
    "uses_all_letters": [
        "uses_all_letters(3 * {letters!r}.upper())",
        "not uses_all_letters('xyzabc', 'abd')",
    ],
    "most_common_character": [
        "most_common_character('a  bb') == 'b'",
        "most_common_character('') == ''",
        "most_common_character('xy') in 'xy'",
    ],
    "character_counts": [
        "set(character_counts('a1' * 6 + 'b').values()) == {{6}}",
        "character_counts('--') == {{}}",
    ],
    "make_handle": [
        "make_handle(' One, Two! ') == 'one' + {sep!r} + 'two'",
    ],
    "brackets_match": [
        "brackets_match('([<x>])')",
        "brackets_match('')",
        "not brackets_match('([<)]>')",
        "not brackets_match('([<')",
    ],
    "deepest_level": [
        "deepest_level('') == 0",
        "deepest_level('{kind[open]}a{kind[open]}b{kind[close]}{kind[close]}') == 2",
    ],
    "without_brackets": [
        "without_brackets('a{kind[open]}b{kind[close]}c') == 'ac'",
        "without_brackets('abc') == 'abc'",
    ],
    "parse_pairs": [
        "parse_pairs('a {eq} 1{sep} b{eq}2{sep}c') == {{'a': {kind}(1), 'b': {kind}(2)}}",
        "parse_pairs('') == {{}}",
    ],
    "format_pairs": [
        "format_pairs({{'b': 2, 'a': 1}}) == 'a{eq}1{sep}b{eq}2'",
        "format_pairs({{}}) == ''",
    ],
    "parse_amount": [
        "parse_amount(' 12 ') == 12",
        "parse_amount('3{unit[sign]}'.upper()) == 3 * {unit[times]}",
    ],
    "digits_to_number": [
        "digits_to_number('1{sep}01', 2) == 5",
        "digits_to_number('10') == {base}",
    ],
    "number_to_digits": [
        "number_to_digits(5, 2) == '101'.rjust({n}, '0')",
        "number_to_digits(0) == '0' * {n}",
    ],
    "read_roman": [
        "read_roman('xiv') == 14",
        "read_roman('XXXIX') == 39",
        "read_roman('') == 0",
    ],
    "write_roman": [
        "write_roman(14).upper() == 'XIV'",
        "write_roman(39).upper() == 'XXXIX'",
    ],
    "join_listing": [
        "join_listing(['a', 'b'], 'or') == 'a or b'",
        "join_listing(['a', 'b', 'c']) == 'a, b{comma[put]}{word} c'",
        "join_listing([]) == ''",
    ],
    "count_label": [
        "count_label(1, 'page') == '1 page'",
        "count_label(2, 'box', 'boxes') == '2 boxes'",
        "count_label(0, 'page') == '{zero} pages'",
    ],
    "compare_versions": [
        "compare_versions('1{sep}9', '1{sep}10') == {less}",
        "compare_versions('2{sep}0', '1{sep}10') == {more}",
        "compare_versions('1', '1') == 0",
    ],
    "password_faults": [
        "password_faults('') == ['length', 'digit', {third[say]!r}]",
        "password_faults('aB3' * 9) == []",
    ],
    "hide_but_last": [
        "hide_but_last('12{sep}3456', 2) == 2 * {mark!r} + {sep!r} + 2 * {mark!r} + '56'",
        "hide_but_last('1') == '1'",
    ],
    "squeeze": [
        "squeeze('a    b', ' ') == 'a' + ' ' * {n[times]} + 'b'",
        "squeeze('ab') == 'ab'",
    ],
    "average_word_length": [
        "average_word_length('ab abcd') == 3",
        "average_word_length('') == 0.0",
    ],
    "edit_distance": [
        "edit_distance('abc', 'abc') == 0",
        "edit_distance('abc', '') == 3 * {add}",
        "edit_distance('a', 'b') == min({swap}, 2 * {add})",
    ],
    "is_contained_in_order": [
        "is_contained_in_order('ace', 'abcde')",
        "not is_contained_in_order('aec', 'abcde')",
    ],
    "longest_run": [
        "longest_run('abbbbc') in (2, 4, 6)",
        "longest_run('') == 0",
        "longest_run('dcba') == 1",
    ],
    "alternate_case": [
        "alternate_case('abcd') in ('AbCd', 'aBcD')",
        "alternate_case('').upper() == ''",
    ],
    "sort_words": [
        "sort_words('a bc') in ('a{sep}bc', 'bc{sep}a')",
        "sort_words('ab cd') == 'ab{sep}cd'",
    ],
    "to_minutes": [
        "to_minutes('2{sep}05') == 125",
        "to_minutes('40') == 40",
    ],
    "format_seconds": [
        "format_seconds(3725) == {sep!r}.join([str(x).zfill({n}) for x in (1, 2, 5)])",
    ],
    "count_case": [
        "sorted(count_case('aBc1')) == [1, 2]",
    ],
    "positions_of": [
        "sorted(positions_of('a', 'abca')) == [{first}, 3 + {first}]",
        "positions_of('x', 'abc') == []",
    ],
    "group_digits": [
        "group_digits(10 ** {n}) == '1' + {sep!r} + '0' * {n}",
        "group_digits(-7) == '-7'",
    ],
    "stretch": [
        "stretch('A1-', 2) in ('AA1-', 'A11-')",
    ],
    "expand_ranges": [
        "expand_ranges('1{dash}3{sep}7') == [1, 2, 3, 7]",
    ],
    "shorten_ranges": [
        "shorten_ranges([1, 2, 3, 4, 7]) == '1{dash}4{sep}7'",
        "shorten_ranges([]) == ''",
    ],
    "letter_score": [
        "letter_score('a-C') == 4 * {a}",
        "letter_score('') == 0",
    ],
    "check_digit": [
        "check_digit('') == 0",
        "(check_digit('12') + {one} + 2 * {two}) % {m} == 0",
    ],
    "fill_places": [
        "fill_places('a {marks[a]}b{marks[b]}.', dict(b='c')) == 'a c.'",
        "fill_places('{marks[a]}x{marks[b]}', dict()) in ('{marks[a]}x{marks[b]}', '', '?')",
    ],
    "word_counts": [
        "word_counts('Longer, longer words.') == {{'longer': 2, 'words': 1}}",
    ],
    "first_single": [
        "first_single('aab') in 'ab'",
        "first_single('aaa') == {none!r}",
    ],
    "text_between": [
        "text_between('a[b]c', '[', ']') == 'b'",
        "text_between('abc') == {none!r}",
    ],
    "format_row": [
        "format_row(['abc', 'abcde'], 3) == 'abc' + {sep!r} + 'abc'",
        "len(format_row(['a'])) == {n}",
    ],
    "initials_match": [
        "initials_match('AA', 'aba aka')",
        "not initials_match('x', 'aba')",
    ],
    "number_to_words": [
        "number_to_words(42) == 'forty{joint[put]}two'",
        "number_to_words(90) == 'ninety'",
        "number_to_words(13) == 'thirteen'",
    ],
    "split_sentences": [
        "split_sentences('One. Two. Three') == ['One.', 'Two.', 'Three']",
        "split_sentences(' ') == []",
    ],
    "is_prime": [
        "[n for n in range(10, 30) if is_prime(n)] == [11, 13, 17, 19, 23, 29]",
        "not is_prime(1)",
    ],
    "primes_below": [
        "sorted(primes_below(14, 3)) == [3, 5, 7, 11, 13]",
        "primes_below(2) == []",
    ],
    "prime_factors": [
        "prime_factors(12) in ([2, 2, 3], [2, 3], {{2: 2, 3: 1}}, '2 * 2 * 3')",
    ],
    "common_divisor": [
        "common_divisor([12, 18, 30]) == 6",
        "common_divisor([]) == {none}",
        "common_divisor([7]) == 7",
    ],
    "common_multiple": [
        "common_multiple(4, 6) % 12 == 0",
        "{n} <= common_multiple(2, 3) < {n} + 6",
    ],
    "factorial": [
        "factorial(5, 1) == 120",
        "factorial(7, 2) == 105",
        "factorial(0) == 1",
    ],
    "number_sequence": [
        "number_sequence(1, 3, 4) == [3]",
        "len(number_sequence(9)) == 9",
        "number_sequence(3, 2, 3)[2] in (5, 8, 1)",
    ],
    "halving_steps": [
        "halving_steps(3) in (7, [3, 10, 5, 16, 8, 4, 2, 1], 16, 3)",
    ],
    "digit_sum": [
        "digit_sum(0) == 0",
        "digit_sum(106) in (7, 37, 217, 1, 6)",
    ],
    "repeated_digit_sum": [
        "repeated_digit_sum(9875) in (2, 11, 29, 1, 2, 3)",
        "repeated_digit_sum(7) in (0, 7)",
    ],
    "reverse_number": [
        "reverse_number(120) in (21, 141, 42)",
        "reverse_number(-5) in (-5, -10)",
    ],
    "divisors": [
        "divisors(12, 1)[:5] == [1, 2, 3, 4, 6]",
        "divisors(7, 2) in ([7], [])",
    ],
    "classify_number": [
        "classify_number(6) == {equal!r}",
        "classify_number(8) == {small!r}",
        "classify_number(12) == {large!r}",
    ],
    "largest_power": [
        "largest_power(26, 3) == 2",
        "largest_power(27, 3) == 3",
        "largest_power(24, 2) == 4",
    ],
    "power_rest": [
        "power_rest(3, 13, 10) == 3",
        "power_rest(5, 0) == 1",
    ],
    "sum_of_multiples": [
        "sum_of_multiples({a} + 1) == {a}",
        "sum_of_multiples(1) == 0",
    ],
    "pascal_row": [
        "pascal_row({first} + 4) == [1, 4, 6, 4, 1]",
        "pascal_row({first}) == [1]",
    ],
    "clamp": [
        "clamp(-99) == {a}",
        "clamp(999) == {b}",
        "clamp(15) == 15",
    ],
    "round_to": [
        "round_to(12, 5) in (10, 15)",
        "round_to(3 * {n}) == 3 * {n}",
    ],
    "average": [
        "average([2.0, 2.0, 2.0]) == 2.0",
        "str(average([])) == str({none})",
    ],
    "median": [
        "median([9, 1, 5]) == 5",
        "median([1, 9, 3, 5]) in (3, 4, 5)",
    ],
    "most_frequent": [
        "sorted(most_frequent([3, 1, 3, 1, 2])) == [1, 3]",
        "most_frequent([]) == []",
    ],
    "deviation": [
        "deviation([1, 3]) in (1, 2)",
        "deviation([4]) == 0",
    ],
    "to_fahrenheit": [
        "to_fahrenheit([{limit}]) == [round({limit} * 9 / 5 + 32, {n})]",
        "len(to_fahrenheit([-99, 99])) == 1",
    ],
    "count_bits": [
        "count_bits(5, '1') == 2",
        "count_bits(2 ** 32, '0') == 32",
    ],
    "is_power_of": [
        "is_power_of(1)",
        "is_power_of({n} ** 3)",
        "not is_power_of({n} ** 3 + 1)",
        "not is_power_of(0)",
    ],
    "equals_digit_powers": [
        "not equals_digit_powers(12)",
        "equals_digit_powers(1)",
    ],
    "balance_after": [
        "balance_after(100.0, 10.0, 0) == 100.0",
        "balance_after(100.0, 10.0, 1) in (110.0, 105.0, 210.0)",
    ],
    "fewest_coins": [
        "fewest_coins({a} + 1) in (2, [{a}, 1], {{{a}: 1, 1: 1}})",
        "not fewest_coins(0)",
    ],
    "label_multiples": [
        "label_multiples({a})[-1] == {word[x]!r}",
        "label_multiples({a} * {b})[-1].endswith({word[x]!r} + {word[y]!r})",
        "label_multiples(1) == ['1']",
    ],
    "real_solutions": [
        "real_solutions(1, -3, 2) in (2, [1, 2])",
        "not real_solutions(1, 0, 1)",
    ],
    "distance": [
        "distance((1, 1), (4, 5)) in (5, 7, 4, 3)",
    ],
    "overlap_area": [
        "overlap_area([0, 0, 2, 2], [0, 0, 2, 2]) in (4, 0)",
        "overlap_area([0, 1, 0, 1], [5, 6, 5, 6]) == 0",
    ],
    "triangle_kind": [
        "triangle_kind(3, 4, 5) == {three!r}",
        "triangle_kind(2, 2, 3) == {two!r}",
        "triangle_kind(1, 2, 3) == {bad!r}",
        "triangle_kind(2, 2, 2) == {all!r}",
    ],
    "ways_to_climb": [
        "ways_to_climb(4) in (5, 7, 3, 1)",
        "ways_to_climb(0) == 1",
    ],
    "move_discs": [
        "move_discs(2) == ['{rod[a]}{rod[b]}', '{rod[a]}{rod[c]}', '{rod[b]}{rod[c]}']",
        "len(move_discs(4)) == 15",
    ],
    "ends_at": [
        "ends_at({goal})",
        "ends_at({goal} * 10) or {goal} != 1",
        "not ends_at(0)",
    ],
    "digit_product_rounds": [
        "digit_product_rounds(39) == 3",
        "digit_product_rounds(4) == 0",
    ],
    "weighted_average": [
        "weighted_average([1, 4], [2, 1]) == 2",
        "weighted_average([1], [0]) == {none}",
    ],
    "chunks": [
        "chunks([1, 2, 3, 4], 2) == [[1, 2], [3, 4]]",
        "chunks([1, 2, 3], 2)[0] == [1, 2]",
        "chunks([]) == []",
    ],
    "flatten": [
        "flatten([1, [2, [3, []]], 4]) == [1, 2, 3, 4]",
        "flatten([]) == []",
    ],
    "rotate": [
        "rotate([1, 2, 3], 4) in ([2, 3, 1], [3, 1, 2])",
        "rotate([]) == []",
    ],
    "unique": [
        "unique([3, 5, 3, {skip}]) in ([3, 5], [5, 3])",
        "unique([]) == []",
    ],
    "kth_{end[say]}": [
        "kth_{end[say]}([5, 5, 1, 3], 2) == 3",
        "kth_{end[say]}([], 1) is None",
    ],
    "top_entries": [
        "len(top_entries([4, 1, 3], 2)) == 2",
        "top_entries([4, 1, 3], 2) in ([4, 3], [1, 3])",
    ],
    "partition": [
        "sorted(sum(partition([3, 1, 2], 2), [])) == [1, 2, 3]",
    ],
    "every_nth": [
        "every_nth([1, 2, 3, 4], 2) in ([1, 3], [2, 4], [3], 4, 6, 3)",
    ],
    "neighbor_steps": [
        "neighbor_steps([2, 5]) in ([3], [7], [5], [10])",
        "neighbor_steps([1]) == []",
    ],
    "windows": [
        "len(windows([1, 2, 3], 2)) == 2",
        "windows([1, 2], 2)[0] in (3, 2, 1, [1, 2])",
        "windows([1], 2) == []",
    ],
    "moving_average": [
        "moving_average([1, 3, 5], 2) == [1, 2, 4]",
        "moving_average([]) == []",
    ],
    "merge_sorted": [
        "merge_sorted([1], []) == [1]",
        "merge_sorted([2], [2]) == [2, 2]",
        "merge_sorted([1], [2]) in ([1, 2], [2, 1])",
    ],
    "is_ordered": [
        "is_ordered([])",
        "is_ordered([4])",
    ],
    "best_gain": [
        "best_gain([7, 1, 50, 3], 1) == 48",
        "best_gain([3, 2, 1]) == 0",
        "best_gain([]) == 0",
    ],
    "running_{what[say]}": [
        "running_{what[say]}([2, 3], 1) in ([3, 6], [2, 3], [1, 1], [2, 6])",
    ],
    "index_of_{what[say]}": [
        "index_of_{what[say]}([5, 9, 5, 9]) in (0, 1, 2, 3)",
        "index_of_{what[say]}([]) == {none}",
    ],
    "count_pairs": [
        "count_pairs([4]) == 0",
        "count_pairs([3, 1, 5]) in (1, 0, 3, 2)",
    ],
    "pair_with_sum": [
        "pair_with_sum([1, 4, 6], 10) in ((1, 2), (4, 6))",
        "pair_with_sum([5], 10) is None",
    ],
    "missing_numbers": [
        "missing_numbers([5, 6], 7) in ([0, 1, 2, 3, 4, 7], [1, 2, 3, 4, 7], [7], [0, 2, 4], [2, 4], [], [1, 3, 7])",
    ],
    "repeated": [
        "repeated([2, 1, 2], 2) in ([2], [1])",
        "repeated([]) == []",
    ],
    "majority": [
        "majority([5, 5, 5, 5, 1]) == 5",
        "majority([1, 2]) is None",
        "majority([]) is None",
    ],
    "best_run_sum": [
        "best_run_sum([2]) in (2, (2, 0, 0))",
        "best_run_sum([-1, 4, -2]) in (4, (4, 1, 1), -2, (-2, 2, 2))",
    ],
    "longest_climb": [
        "longest_climb([3, 1, 2, 3]) in (3, 2, 3)",
        "longest_climb([]) == 0",
        "longest_climb([7]) == 1",
    ],
    "shared": [
        "shared([3, 1], [3, 2]) in ([3], [1, 2], [1], [2])",
        "shared([], []) == []",
    ],
    "group_by_rest": [
        "group_by_rest([4, 5, 7], 2) in ([[4], [5, 7]], [1, 2], [4, 12])",
    ],
    "own_sort": [
        "own_sort([2, 3, 1]) in ([1, 2, 3], [3, 2, 1])",
        "own_sort([]) == []",
    ],
    "find_place": [
        "find_place([1, 4, 6], 4) in (1, 0)",
        "find_place([], 4) in (-1, 0)",
        "find_place([1, 4], 5) in (-1, 2, 1)",
    ],
    "replace_all": [
        "replace_all([6], 9) == [6]",
        "replace_all([-4, 60, 5], 7).count(7) >= 0",
    ],
    "move_to_{side[say]}": [
        "move_to_{side[say]}([7, 0, 8], 0) in ([0, 7, 8], [7, 8, 0])",
    ],
    "split_at": [
        "split_at([7, 0, 8], 0) == [[7], [8]]",
        "split_at([0], 0) in ([[], []], [])",
    ],
    "products_of_others": [
        "products_of_others([2, 3, 4]) in ([12, 8, 6], [7, 6, 5], [4, 4, 3])",
    ],
    "subsets": [
        "[1, 3] in subsets([1, 3])",
        "len(subsets([2, 4])) in (4, 3, 1)",
    ],
    "arrangements": [
        "sorted(arrangements('aba')) == ['aab', 'aba', 'baa']",
        "arrangements('') in ([], [''])",
    ],
    "selections": [
        "selections(['a', 'b', 'c'], 2) == ['a{sep}b', 'a{sep}c', 'b{sep}c']",
    ],
    "all_pairs": [
        "all_pairs(['a'], ['b', 'c']) == ['a{sep}b', 'a{sep}c']",
    ],
    "take_while": [
        "take_while([], 3) == []",
        "take_while([1, 5, 9], 5) in ([1, 5], [9], [1, 5, 9], [], [1], [5, 9])",
    ],
    "ranks": [
        "ranks([5]) == [{n}]",
        "sorted(ranks([5, 9, 5])) in ([{n}, {n} + 1, {n} + 1], [{n}, {n}, {n} + 1], [{n}, {n}, {n} + 2])",
    ],
    "without_outliers": [
        "without_outliers([]) == []",
        "without_outliers([5.0, 5.0]) == [5.0, 5.0]",
        "without_outliers([1.0] * 30 + [99.0]) == [1.0] * 30",
    ],
    "stretch_to_range": [
        "stretch_to_range([1, 2, 3], 0, 10) == [0, 5, 10]",
        "stretch_to_range([]) == []",
    ],
    "fit_length": [
        "fit_length([7, 8], 3) in ([7, 8, {fill}], [{fill}, 7, 8])",
        "fit_length([7, 8], 1) in ([7], [8])",
    ],
    "reverse_groups": [
        "reverse_groups([1, 2, 3, 4], 2) == [2, 1, 4, 3]",
        "reverse_groups([1, 2, 3], 2)[:2] == [2, 1]",
    ],
    "last_in_circle": [
        "last_in_circle(2, 2) in ({start[do]}, [{start[do]} + 1])",
        "last_in_circle(5, 2) in ({start[do]} + 2, [{start[do]} + x for x in (1, 3, 0, 4)])",
    ],
    "merge_spans": [
        "merge_spans([(5, 9), (1, 3), (2, 3)]) == [(1, 3), (5, 9)]",
        "merge_spans([]) == []",
    ],
    "covered_length": [
        "covered_length([], 0, 3) in (0, 3)",
        "covered_length([(1, 2), (1, 2)], 0, 2) == 1",
    ],
    "busiest": [
        "busiest([(1, 4), (2, 3), (5, 6)]) == 2",
        "busiest([]) == 0",
        "busiest([(1, 2), (2, 3)]) in (1, 2)",
    ],
    "first_overdrawn": [
        "first_overdrawn([]) in (-2, -1, 0)",
        "first_overdrawn([5, -999]) == 1",
    ],
    "bin_counts": [
        "bin_counts([{low}, {low} + {n}]) == [1, 1] + [0] * ({m} - 2)",
        "bin_counts([]) == [0] * {m}",
    ],
    "alternating_sum": [
        "abs(alternating_sum([5, 5, 5])) in (5, 15)",
        "alternating_sum([]) == 0",
    ],
    "sort_by_rule": [
        "sorted(sort_by_rule([12, 5, 30])) == [5, 12, 30]",
        "sort_by_rule([]) == []",
    ],
    "knapsack": [
        "knapsack([3, 4], [5, 6], 7) == 11",
        "knapsack([9], [1], 8) == 0",
    ],
    "can_reach": [
        "can_reach([3, 5, 9], 14)",
        "can_reach([], 0)",
        "not can_reach([4], 6)",
        "can_reach([4], 8) == ({times[do]} > 1)",
    ],
    "ways_to_pay": [
        "ways_to_pay(0) == 1",
        "ways_to_pay(10) in (10, 2, 4, 2, 2)",
    ],
    "longest_common": [
        "longest_common('abc', 'abxc') in (2, 3)",
        "longest_common('', 'a') == 0",
        "longest_common('ab', 'ba') == 1",
    ],
    "best_without_neighbors": [
        "best_without_neighbors([5, 1, 1, 1, 5]) in (11, 10)",
        "best_without_neighbors([-3]) == 0",
    ],
    "evaluate_postfix": [
        "evaluate_postfix(['3', '4', '+', '2', '{sign}', '1', '-']) == 13",
    ],
    "all_alike": [
        "all_alike([])",
        "all_alike(['ab', 'ab'])",
        "not all_alike(['a b', 'cde f g'])",
    ],
    "transpose": [
        "transpose([]) == []",
        "transpose([[1, 2], [3, 4]]) in ([[1, 3], [2, 4]], [[3, 1], [4, 2]])",
    ],
    "turn": [
        "turn([[1, 2]], 2) == [[2, 1]]",
        "turn([[1, 2]], 1) in ([[1], [2]], [[2], [1]])",
    ],
    "multiply": [
        "multiply([[1, 2]], [[3], [4]]) == [[11]]",
        "multiply([[1, 0], [0, 1]], [[5, 6], [7, 8]]) == [[5, 6], [7, 8]]",
    ],
    "square_table": [
        "len(square_table()) == {n}",
        "square_table(2)[0][0] in (0, 1)",
    ],
    "diagonal_sum": [
        "diagonal_sum([[1, 2], [3, 4]]) in (5, 10, 2)",
        "diagonal_sum([]) == 0",
    ],
    "spiral": [
        "spiral([[1, 2], [3, 4]]) in ([1, 2, 4, 3], [1, 3, 4, 2])",
        "spiral([]) == []",
    ],
    "line_results": [
        "len(line_results([[1, 2], [3, 4]])) == 2",
        "line_results([]) == []",
        "line_results([[3]]) in ([3], [0], [1])",
    ],
    "is_mirrored": [
        "is_mirrored([[1, 1], [1, 1]])",
        "not is_mirrored([[1, 2], [3, 4]])",
    ],
    "neighbor_sum": [
        "neighbor_sum([[1, 2], [3, 4]], 0, 0) in (5, 9, 4, 2)",
    ],
    "count_groups": [
        "count_groups(['x.x', 'x..'], 'x') == 2",
        "count_groups([]) == 0",
        "count_groups(['x.', '.x'], 'x') in (1, 2)",
    ],
    "fill_area": [
        "fill_area([[1, 2]], 0, 0, 7) == [[7, 2]]",
        "fill_area([[1, 1], [1, 2]], 0, 0, 7) in ([[7, 7], [7, 2]], [[7, 7], [1, 2]], [[7, 1], [7, 2]])",
    ],
    "next_generation": [
        "len(next_generation([1, 0, 1])) == 3",
        "next_generation([]) == []",
        "set(next_generation([1, 1, 0, 1])) <= {{0, 1}}",
    ],
    "count_paths": [
        "count_paths(2, 2) in (2, 3)",
        "count_paths(1, 5) == 1",
    ],
    "{what[name]}_path": [
        "{what[name]}_path([[1, 2], [3, 4]]) in (7, 8)",
        "{what[name]}_path([[5]]) == 5",
    ],
    "is_magic": [
        "is_magic([[2, 7, 6], [9, 5, 1], [4, 3, 8]])",
        "not is_magic([[1, 2], [3, 4]])",
    ],
    "winner": [
        "winner(['{name[a]}{name[a]}{name[a]}', '{name[b]}{name[b]} ', '   ']) == {name[a]!r}",
        "winner(['{name[b]}  '] * 3) == {name[b]!r}",
        "winner(['   '] * 3) == {none!r}",
    ],
    "frame": [
        "frame([[5]], 0)[{width[do]}][{width[do]}] == 5",
        "len(frame([[5, 6]])) == 1 + 2 * {width[do]}",
        "sum(map(sum, frame([[5]], 0))) == 5",
    ],
    "best_position": [
        "best_position([[4, 4], [4, 4]]) == ({first}, {first})",
        "best_position([[7]]) == ({first}, {first})",
    ],
    "invert": [
        "invert({{'a': 'x'}}) in ({{'x': ['a']}}, {{'x': 'a'}})",
        "invert({{}}) == {{}}",
    ],
    "combine": [
        "combine(dict(a=1, b=4), dict(b=2)) in (dict(a=1, b=6), dict(a=1, b=4), dict(a=1, b=2))",
        "combine(dict(), dict()) == dict()",
    ],
    "select": [
        "select({{}}) == {{}}",
        "select({{'ab': 2}}, 2) in ({{}}, {{'ab': 2}})",
    ],
    "best_keys": [
        "best_keys(dict(b=1, a=1), 1) in (['a'], ['b'])",
        "best_keys(dict(x=5, y=2), 1) in (['x'], ['y'])",
        "best_keys(dict()) == []",
    ],
    "group_texts": [
        "list(group_texts(['ab', 'ab']).values()) == [['ab', 'ab']]",
        "group_texts([]) == {{}}",
    ],
    "look_up": [
        "look_up({{'a': {{'b': 5}}}}, 'a{sep}b') == 5",
        "look_up({{'a': 1}}, 'a{sep}b') == {none!r}",
    ],
    "flatten_keys": [
        "flatten_keys({{'a': {{'b': 1, 'c': {{'d': 2}}}}}}) == {{'a{sep}b': 1, 'a{sep}c{sep}d': 2}}",
    ],
    "unflatten_keys": [
        "unflatten_keys({{'a{sep}b': 1, 'c': 2}}) == {{'a': {{'b': 1 + {n}}}, 'c': 2 + {n}}}",
    ],
    "choose_keys": [
        "list(choose_keys(dict(a='1', b='2'), ['c', 'a'])) in (['c', 'a'], ['a', 'c'])",
        "choose_keys(dict(a='1'), ['a']) == dict(a='1')",
    ],
    "rename_keys": [
        "rename_keys({{'a': 1}}, {{'a': 'b'}}) == {{'b': 1}}",
        "rename_keys({{}}, {{}}) == {{}}",
    ],
    "changes": [
        "changes(dict(x=1, y=2), dict(y=3, z=4)) == {{{name[a]!r}: ['z'], {name[b]!r}: ['x'], {name[c]!r}: ['y']}}",
    ],
    "tally": [
        "tally(['A', ' a', 'b'], 2) in ({{'a': 2}}, ['a'], 1, 'a')",
        "not tally([])",
    ],
    "{what[name]}_by_group": [
        "{what[name]}_by_group([]) == {{}}",
        "{what[name]}_by_group([{{'{key}': 'a', '{value}': 4}}, {{'{key}': 'a', '{value}': 2}}])['a'] in (6, 3, 4, 2)",
    ],
    "index_records": [
        "index_records([dict(x=1), dict(y=2)], 'x') == {{1: dict(x=1)}}",
        "index_records([]) == {{}}",
    ],
    "join_records": [
        "join_records([dict(x=1, a=2)], [dict(x=1, b=3)], 'x') == [dict(x=1, a=2, b=3)]",
        "join_records([dict(x=1)], [], 'x') in ([], [dict(x=1)])",
    ],
    "sort_records": [
        "[r['{b}'] for r in sort_records([{{'{a}': 1, '{b}': 'y'}}, {{'{a}': 1, '{b}': 'x'}}])] == ['x', 'y']",
    ],
    "missing_fields": [
        "missing_fields(dict(a=1), ['b', 'a']) == ['b']",
        "missing_fields(dict(), []) == []",
    ],
    "apply_moves": [
        "apply_moves(dict(a=1), [('a', 2), ('b', 3)]) == dict(a=3, b=3)",
        "apply_moves(dict(), []) == dict()",
    ],
    "bill_total": [
        "bill_total([(2, 1.5)]) == 3.0",
        "bill_total([]) == 0",
        "bill_total([(1, 300.0)]) in (270.0, 240.0, 295.0, 0.0)",
    ],
    "grade": [
        "grade({n}) == {name[a]!r}",
        "grade(7, 10) == {name[b]!r}",
        "grade(0) == {name[c]!r}",
    ],
    "similarity": [
        "similarity(['x', 'y'], ['y', 'x', 'x']) == 1.0",
        "similarity([], []) == {none}",
        "similarity(['x'], ['y']) == 0",
    ],
    "in_how_many": [
        "in_how_many([['a', 'a'], ['b', 'a']]) in (dict(a=2, b=1), ['a'], ['b'])",
        "not in_how_many([])",
    ],
    "neighbors_of": [
        "neighbors_of([('a', 'b')]) in (dict(a=['b'], b=['a']), dict(a=['b']), dict(b=['a']))",
        "neighbors_of([]) == dict()",
    ],
    "reachable": [
        "reachable(dict(a=['b'], b=['a', 'c']), 'a') in (['a', 'b', 'c'], ['b', 'c'], dict(a=0, b=1, c=2), 2)",
        "reachable({{}}, 'x') in (['x'], [], dict(x=0), 0)",
    ],
    "order_tasks": [
        "order_tasks(dict(c=['b'], b=['a'], a=[])) == ['a', 'b', 'c']",
        "order_tasks(dict()) == []",
    ],
    "count_circles": [
        "count_circles(dict(a='b', b='a', c='a')) in (1, 2)",
        "count_circles(dict()) == 0",
        "count_circles(dict(a='a')) == 1",
    ],
    "cheapest_route": [
        "cheapest_route(dict(a=dict(b=1, c=9), b=dict(c=2)), 'a', 'c') in (3, 1)",
        "cheapest_route(dict(), 'a', 'b') == {none}",
    ],
    "is_code": [
        "is_code('A' * {n} + '1' * {m}) != is_code('a' * {n} + '1' * {m})",
        "not is_code('')",
    ],
    "is_mail_address": [
        "is_mail_address('a@b{sep}c{sep}d')",
        "not is_mail_address('a@b')",
        "not is_mail_address('a@b{sep}{sep}c')",
        "not is_mail_address('@b{sep}c{sep}d')",
    ],
    "is_clock_time": [
        "is_clock_time('09{sep}30')",
        "not is_clock_time('9{sep}30')",
        "not is_clock_time('24{sep}00')",
        "not is_clock_time('0960')",
    ],
    "is_address": [
        "is_address({sep!r}.join(['7'] * {n}))",
        "not is_address({sep!r}.join(['07'] * {n}))",
        "not is_address('1')",
    ],
    "parse_bool": [
        "parse_bool(' {word[agree]} '.upper()) is True",
        "parse_bool('{word[deny]}') is False",
        "parse_bool('maybe') is None",
    ],
    "read_settings": [
        "read_settings(['[a]', 'x {eq} 1', '', '{mark} y{eq}2']) == dict(a=dict(x='1'))",
    ],
    "run_moves": [
        "run_moves('{to[u]}{to[u]}{to[r]}{to[d]}{to[l]}') in ((0, 1), 5, 2, True)",
        "run_moves('') in ((0, 0), 1, 0, False)",
    ],
    "tokenize": [
        "tokenize('12 + ab*(3)') == ['12', '+', 'ab', '*', '(', '3', ')']",
        "tokenize('') == []",
    ],
    "left_to_right": [
        "left_to_right('2 + 3 {sign} 4 - 1') == 19",
        "left_to_right('7') == 7",
    ],
    "evaluate": [
        "evaluate('2 + 3 {sign} 4') in (14, 28)",
        "evaluate('7') in (7, 14)",
    ],
    "turnstile": [
        "turnstile([{coin!r}, {push!r}, {push!r}]) in (1, True)",
        "turnstile([]) in (0, True)",
    ],
    "parking_fee": [
        "parking_fee({free}) == 0",
        "parking_fee({free} + 1) == {price}",
        "parking_fee(9999) == {most}",
    ],
    "shipping_cost": [
        "shipping_cost({a}) == {x}",
        "shipping_cost({b}) == {y}",
        "shipping_cost({b} + 0.5) == {y} + {z}",
        "shipping_cost(0) == 0",
    ],
    "income_tax": [
        "income_tax({free}) == 0",
        "income_tax({high} + 100) == ({high} - {free}) * {a} / 100 + {b}",
    ],
    "ticket_price": [
        "ticket_price({a} - 1) == 0",
        "ticket_price({a}, 15) == 7",
        "ticket_price(40) == {n}",
        "ticket_price({c}, 9) == 4",
    ],
    "weekly_pay": [
        "weekly_pay([2, 3], 10.0) in (50, 70, 40)",
        "weekly_pay([{n} + 1], 10.0) - weekly_pay([{n}], 10.0) == 10 * {times}",
    ],
    "months_to_repay": [
        "months_to_repay(100, 50, 0.0) == 2",
        "months_to_repay(100, 0) == {most}",
        "months_to_repay(0, 5) == 0",
    ],
    "heater_actions": [
        "heater_actions([10, 19.5, 30, 19.5]) == [{word[warm]!r}, {word[warm]!r}, {word[cold]!r}, {word[cold]!r}]",
    ],
    "retry_delays": [
        "retry_delays(2, 1.0) == [1.0]",
        "retry_delays(3, 1.0)[1] in (2, 3)",
        "max(retry_delays(99)) <= {b}",
        "retry_delays(1) == []",
    ],
    "allow_calls": [
        "allow_calls([0, 0.1, 9], 1, 5.0) == [True, False, True]",
        "allow_calls([]) == []",
    ],
    "cache_hits": [
        "cache_hits(['a', 'b', 'a', 'c', 'b'], 2) in (1, 2)",
        "cache_hits([]) == 0",
        "cache_hits(['a'] * 4) == 3",
    ],
    "page_of": [
        "page_of(['a', 'b', 'c'], {first} + 1, 2) == ['c']",
    ],
    "progress_bar": [
        "progress_bar(1, 2, 4).strip('[]').replace(' 50%', '') == 2 * {full!r} + 2 * {empty!r}",
    ],
    "text_chart": [
        "text_chart(dict(a=10), '#') == ['a' + {sep!r} + '#' * (10 // {n})]",
        "text_chart(dict()) == []",
    ],
    "draw_box": [
        "draw_box(['ab'], '+') == ['+' + 2 * {h!r} + '+', {v!r} + 'ab' + {v!r}, '+' + 2 * {h!r} + '+']",
    ],
    "draw_shape": [
        "draw_shape(1, '*') == ['*']",
        "len(draw_shape(4)) == 4",
        "draw_shape(0) == []",
    ],
    "draw_board": [
        "draw_board(1, 1) == [{a!r}]",
        "sorted(draw_board(2, 2)) == sorted(['{a}{b}', '{b}{a}'])",
    ],
    "times_table": [
        "'2 {sign} 3 = 6' in times_table(3)",
        "times_table(0) == []",
    ],
    "countdown": [
        "countdown({low} + 3, 2) == [str({low} + 3), str({low} + 1), {word!r}]",
        "countdown(0) == [{word!r}]",
    ],
    "say_again": [
        "say_again('1121', 1) in ('211211', '122111')",
        "say_again('') == ''",
    ],
    "bracket_texts": [
        "len(bracket_texts(4)) == 14",
        "bracket_texts(1) == ['{kind[open]}{kind[close]}']",
    ],
    "count_splits": [
        "count_splits(4) in (5, 2)",
        "count_splits(0) == 1",
    ],
}
