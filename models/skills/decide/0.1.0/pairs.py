"""Hand-written near misses of the `decide` skill: two requests of one topic, two unlike tools.

Two lines make a pair, `request;tool: description` each: either tool serves only its own
request. `{n}`, `{m}`, `{c}` and `{p}` stand for numbers, a city and a person.
Steps: what an orchestrating agent may be told to do, with the tool that does it.
"""

from __future__ import annotations

PAIRS = """
What is the area of a triangle with base {n} and height {m}?;
triangle_area: Computes the area of a triangle from base and height
Find the roots of {n}x^2 + {m}x - 3 = 0;quadratic_roots: Solves a quadratic equation for its roots
What is the circumference of a circle of radius {n}?;
circle_circumference: Length around a circle from its radius
How much space does a ball of radius {n} take up?;sphere_volume: Volume of a sphere from its radius
How far is {c} from Oslo by road?;road_distance: Driving distance between two places
What time is it in {c} right now?;local_time: Current clock time of a place
Will it rain in {c} tomorrow?;weather_forecast: Forecast of rain, wind and temperature for a place
How many people live in {c}?;city_population: Number of inhabitants of a city
Convert {n} euros to yen;currency_convert: Converts an amount from one currency to another
What was the yen worth {m} years ago?;currency_history: Past exchange rates of a currency
What would {n} coins at {m}% a year grow to in ten years?;
compound_interest: Growth of a sum with compound interest
What do I pay each month on a loan of {n}000 at {m}%?;loan_payment: Monthly payment of a loan
Who won the match between the Hawks and the Owls last night?;
match_result: Final score and winner of a past game
When do the Hawks play next?;match_schedule: Dates of upcoming games of a team
How many goals did {p} score this season?;player_stats: Season numbers of one player
Which club does {p} play for?;player_profile: Club, position and age of a player
Write a function that sorts a list in Python;
code_generator: Writes new source code from a description
Why does this loop never end?;code_debugger: Finds the bug in given source code
Run the unit tests of my project;test_runner: Executes the tests of a project
Show me which lines changed since Monday;diff_viewer: Shows changes between versions of files
Book me a flight to {c} on Friday;flight_booking: Reserves seats on flights
Is my flight to {c} delayed?;flight_status: Live departure and delay information of a flight
Find a hotel in {c} for {n} nights;hotel_search: Finds rooms by place and dates
Cancel my room in {c};booking_cancel: Cancels an existing reservation
What is the greatest common divisor of {n} and {m}?;gcd: Greatest common divisor of two integers
Is {n} a prime number?;prime_check: Tells whether an integer is prime
What is the average of {n}, {m} and 12?;mean: Arithmetic mean of numbers
How spread out are the values {n}, {m} and 12?;standard_deviation: Spread of a list of numbers
Plot sales per month as bars;bar_chart: Draws a bar chart from values
Add up the sales of all months;sum_column: Sums a column of numbers
Translate "good morning" into Polish;translate_text: Translates text between languages
Which language is "dobry wieczor"?;detect_language: Tells the language of a text
How do you spell "rhythm"?;spell_word: Gives the spelling of a word
What rhymes with "moon"?;rhyme_finder: Finds words that rhyme
What does "lucid" mean?;dictionary: Meaning of a word
Give me another word for "happy";synonyms: Words of the same meaning
Shorten this article to three lines;summarize: Shortens a text
Fix the grammar in this letter;grammar_fix: Corrects grammar and spelling
Play some quiet jazz;play_music: Plays songs by style or artist
What are the words of that song by {p}?;song_lyrics: Text of a song
Who painted the picture with the melting clocks?;artwork_info: Artist and year of a work of art
Draw me a picture of a melting clock;image_generator: Makes a new image from a description
Set an alarm for {n} minutes past six;set_alarm: Sets an alarm at a time
How long until six o'clock?;time_until: Time left until a given moment
Put the meeting with {p} on Tuesday;create_event: Adds an event to the calendar
What is on my calendar on Tuesday?;list_events: Reads the events of a day
Send {p} a note that I am late;send_message: Sends a message to a person
Did {p} write to me today?;read_inbox: Shows received messages
What is the phone number of {p}?;contact_lookup: Reads a saved contact
Save the new number of {p};contact_update: Changes or adds a saved contact
Turn the heating up to {n} degrees;set_heating: Changes the target temperature of a room
How warm is it in the kitchen?;read_thermometer: Reads the temperature of a room
Switch off the light in the hall;light_switch: Switches lamps on and off
How much power do my lamps use?;power_meter: Measures energy use of devices
How do I bake rye bread?;recipe_search: Finds recipes by dish
Order two rye loaves for Saturday;bakery_order: Orders baked goods for a date
How many grams are {n} ounces?;weight_convert: Converts units of weight
How many litres are {n} gallons?;volume_convert: Converts units of volume
Change {n} Celsius to Fahrenheit;temperature_convert: Converts temperature units
What is the hottest day ever measured in {c}?;climate_records: Record temperatures of places
What is the capital of Peru?;country_capital: Capital city of a country
Which countries border Peru?;country_borders: Neighbours of a country
How high is Mont Blanc?;mountain_height: Height of a mountain
How long is the Danube?;river_length: Length of a river
When does the sun set in {c}?;sun_times: Sunrise and sunset of a place
When is the next full moon?;moon_phase: Dates of moon phases
How heavy is Jupiter?;planet_facts: Mass, size and moons of planets
Show me a photo of Jupiter;space_images: Pictures of space objects
What is the share price of Norvik Steel?;stock_price: Current price of a share
Buy {n} shares of Norvik Steel;place_order: Buys or sells shares
How much did I spend on food in May?;expense_report: Sums spending by category and month
Add {n} coins for lunch to my expenses;add_expense: Records a new expense
How much tip is {m} percent of {n}?;tip_calculator: Tip for a bill
Split a bill of {n} between {m} people;split_bill: Divides a bill among people
Where is my parcel {n}{m}?;track_parcel: Location of a parcel by number
Send a parcel to {p};create_shipment: Registers a new parcel to send
Find a red bike under {n}0 coins;product_search: Finds products by wish and price
Is the bike I ordered on its way?;order_status: State of a placed order
What do buyers say about the Zindle kettle?;product_reviews: Opinions of buyers on a product
Which kettle is cheaper, Zindle or Frim?;compare_prices: Compares prices of products
Give back the lamp I bought;return_item: Starts the return of a purchase
Write to the shop that the lamp is nice;write_review: Publishes a review of a product
Find three books by {p};book_search: Finds books by author or title
Lend me the book on kites for two weeks;lend_book: Lends a book to a reader
Extend my loan of the map by a week;renew_loan: Extends a loan from the library
When does the library open?;opening_hours: Opening times of a place
How do I get from {c} to Turin by train?;train_routes: Train connections between places
Buy a train ticket to {c};buy_ticket: Buys a train ticket
Is there a free parking space near the harbour?;parking_finder: Finds free parking spaces
How much traffic is there near the harbour?;traffic_info: Current traffic on roads
Which bus goes to the museum?;bus_lines: Bus lines to a stop
How much is the entry to the museum?;museum_prices: Ticket prices of museums
Delete the file draft_{n}.txt;delete_file: Removes a file
Rename draft_{n}.txt to final.txt;rename_file: Changes the name of a file
Find all files larger than {n} megabytes;find_files: Searches files by name, size or date
Pack the folder into one archive;zip_folder: Packs a folder into an archive
Restart the web server;restart_service: Restarts a running service
Why did the web server stop last night?;read_logs: Searches log messages of a service
How many rows has the table visitors?;count_rows: Counts the rows of a table
Add a column "age" to the table visitors;alter_table: Changes the columns of a table
Make a password of {n} characters;password_generator: Creates a random password
Is my password strong enough?;password_strength: Rates the strength of a password
Turn this link into a QR code;make_qr: Makes a QR code from text
What does this QR code say?;read_qr: Reads the content of a QR code
Read the text in this photo;image_to_text: Reads text in images
Make this photo smaller;resize_image: Changes the size of an image
Cut the first {n} seconds off my video;trim_video: Cuts parts off a video
What is said in this video?;video_transcript: Writes down the speech of a video
Roll two dice;roll_dice: Rolls dice at random
What are the odds of two sixes?;dice_odds: Chances of dice results
What is the best move in this chess position?;chess_engine: Finds the best chess move
Explain how the knight moves;chess_rules: Explains rules of chess
Name a good film about space;film_suggestions: Recommends films by topic
Where can I watch that film tonight?;streaming_finder: Services that show a film
Which plants like shade?;plant_finder: Plants by light and soil
How often must I water a fern?;plant_care: Watering and care of a plant
Name my new kitten;name_ideas: Suggests names
How old do cats get?;animal_facts: Facts about animals
Count the words in my essay;word_count: Counts words and letters
Make my essay sound friendlier;rewrite_tone: Rewrites text in another tone
How many days are there between 3 May and {n} June?;days_between: Days between two dates
Which weekday is {n} June?;weekday: Weekday of a date
What is {n} to the power of 3?;power: Raises a number to a power
What is the logarithm of {n}?;logarithm: Logarithm of a number
Solve 3x + {n} = {m};solve_linear: Solves a linear equation
What is the derivative of {n}x^2?;derivative: Derivative of a function
What is the slope between (1, {n}) and (4, {m})?;line_slope: Slope of a line through two points
What is the distance between (1, {n}) and (4, {m})?;point_distance: Distance of two points
How fast is a stone after falling {n} metres?;fall_speed: Speed of a falling body
How much force moves {n} kg at 2 m/s2?;force: Force from mass and acceleration
How many ways are there to pick 3 of {n} cards?;combinations: Number of ways to choose k of n
Pick a card at random;draw_card: Draws a random card
Write {n} in Roman numerals;to_roman: Writes a number in Roman numerals
Write {n} in binary;to_binary: Writes a number in base two
What is the news from {c} today?;news_search: Recent news by topic or place
Write a news item on our fair in {c};article_writer: Writes an article
How many followers has {p}?;account_stats: Numbers of a social account
Post my photo for all to see;publish_post: Publishes a post on an account
What is the fastest way to learn chords?;music_lessons: Lessons for instruments
Tune my guitar;tuner: Hears a string and tells its pitch
Water the beans for {n} minutes;start_watering: Opens the garden valve for a time
How wet is the soil of the beans?;soil_sensor: Reads the moisture of the soil
Find a flat for {n}00 a month in {c};rental_search: Finds flats for rent
What is a flat in {c} worth?;flat_value: Estimates the price of a flat
Find me a job as a carpenter;job_search: Finds open positions
Make my CV as a carpenter look better;cv_editor: Improves a CV
Who is the mayor of {c}?;office_holders: Who holds a public office
Who founded {c}?;city_history: History of a city
Draw a family tree of {p};tree_drawer: Draws family trees
When was {p} born?;person_facts: Birth and life dates of a person
"""

STEPS = """
find matching {N}/look for {N} that fit/search the {N}
  search: Searches the {N} by words and returns the best matches
pick the best {n}/choose one of the {N} found
  pick: Chooses one {n} from the candidates that were found
ask the {P} a question/get a missing detail from the {P}
  ask: Puts one question to the {P} and waits for the answer
check the {N} for mistakes/see whether the {N} are consistent
  check: Looks for contradictions and mistakes in the {N}
write the final answer/put the result into words
  write: Writes the answer from the {N} that were picked
shorten the text/make a summary of the {N}
  summarise: Makes a short version of a text
turn the text into another language/translate the {N}
  translate: Translates a text
split the text into {N}/cut the input into parts
  split: Cuts a long text into {N}
join the {N}/put the parts together
  merge: Joins several {N} into one
put the {N} in order/sort the {N} by importance
  rank: Sorts the {N} by a score
drop the {N} that do not fit/keep only useful {N}
  filter: Removes the {N} that do not meet a rule
save the result/store the {N} for later
  store: Saves the result in the archive
read the saved {N}/get back what was stored
  load: Reads stored {N} from the archive
send the result to the {P}/hand over the answer
  send: Delivers the finished result to the {P}
count the {N}/tell how many {N} there are
  count: Counts {N}
compare two {N}/tell how two {N} differ
  compare: Shows the differences between two {N}
mark the {N} with labels/give every {n} a label
  label: Gives each {n} one of the known labels
open the web page/get the content of a link
  fetch: Downloads the content of an address
work out the number/do the arithmetic
  calculate: Computes a number from a formula
draw the {N} as a chart/show the numbers as a picture
  plot: Draws a chart of numbers
take out names and numbers/read the values from the text
  extract: Reads named values out of a text
hide private details/black out the names
  redact: Replaces names and numbers by placeholders
plan the work/break the task into steps
  plan: Lists the steps that lead to the goal
try the last step again/repeat what failed
  retry: Runs the failed step once more
undo the last change/go back one step
  undo: Takes back the last change
stop here/end the run without an answer
  stop: Ends the run
give the case to a person/let a human decide
  escalate: Hands the case over to a person
explain why the {n} was chosen/give reasons
  explain: Gives the reasons of a decision
fix the {N} with mistakes/repair what the check reported
  repair: Corrects the {N} with problems
look up the meaning of a word/explain a term
  define: Gives the meaning of a word
rewrite the text in a kinder tone/change the style
  restyle: Changes the tone of a text
wait for the answer/pause until the {P} replies
  wait: Pauses until an answer comes in
"""


def pair_table() -> list[tuple[str, tuple[str, str], str, tuple[str, str]]]:
    """The near misses: request, (name, description), request, (name, description)."""
    sides = []
    for line in PAIRS.strip().replace(";\n", ";").splitlines():
        query, tool = line.split(";")
        name, about = tool.split(": ", 1)
        sides.append((query, (name, about)))
    return [(*one, *two) for one, two in zip(sides[::2], sides[1::2], strict=True)]


def step_table() -> list[tuple[list[str], str, str]]:
    """The steps: wordings, tool name and description."""
    table = []
    lines = STEPS.strip().splitlines()
    for words, tool in zip(lines[::2], lines[1::2], strict=True):
        name, about = tool.strip().split(": ", 1)
        table.append((words.split("/"), name, about))
    return table
