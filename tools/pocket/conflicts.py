"""Which everyday tools may stand in one list: never two that one request could mean."""
from changes import content_words

FAR_FROM_KITS = ("home", "food", "health", "media", "translation")

# families that one request could mean both of, a set a line
CONFLICTS = [set(line.split()) for line in """
calculate calculator add_numbers multiply_numbers square_root divide_numbers subtract_numbers percent_of power_of
calculate calculator round_number solve_equation split_bill calculate_tip run_python
list_files list_directory
get_weather get_forecast get_humidity get_wind get_rain_chance
convert_currency convert_units exchange_rate convert_length convert_temperature
open_url fetch_page download_file
web_search get_news define_word look_up_fact find_paper
search_files search_code find_file
run_command run_script run_python
order_food order_product order_groceries order_pizza
product_price stock_price crypto_price
move_file rename_file
edit_file insert_line replace_in_file
read_file read_lines first_lines
create_ticket create_issue
post_message write_post
convert_file encode_text
find_nearby find_parking find_gas_station find_charger
log_weight calculate_bmi
get_recipe find_recipe
get_directions get_distance plan_route
add_task take_note remember_task set_reminder add_reminder
close_ticket close_issue
make_picture draw_chart
find_synonym find_antonym find_rhyme
spell_check fix_grammar
set_volume change_channel
book_room book_table book_hotel
search_flights book_flight
""".strip().splitlines()]
_ABOUT = {}


def _about(family):
    if family.name not in _ABOUT:
        _ABOUT[family.name] = set(content_words(family.description))
    return _ABOUT[family.name]


def conflict(a, b):
    """Could one request mean both families? Then they never stand in one list of tools."""
    if a.name == b.name or any(a.name in c and b.name in c for c in CONFLICTS):
        return True
    if a.kit or b.kit:  # a kit's tools can do nearly anything with files, code and the web
        return any(f.kit is None and f.area not in FAR_FROM_KITS for f in (a, b)) or bool(a.kit and b.kit)
    if a.action is None and b.action is None:
        return len(_about(a) & _about(b)) > 0.6 * len(_about(a) | _about(b))
    if (a.action is None) != (b.action is None):
        return bool(set(a.name.replace("s_", "_").split("_")) & set(b.name.split("_")))
    return False
