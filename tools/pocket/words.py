"""Words of the synthetic tools, split once and for all into trained and held-out ones.

The held lists are frozen: a word may never move from one side to the other, or old tables of
results lose their meaning. Invented words are split by a hash of their letters.
"""
import zlib

VERBS = """create delete update send find list show open close start stop add remove check read write
book cancel order move copy rename print scan upload download share lock unlock play pause record
count sort merge split convert translate measure weigh paint clean repair test build ship track
assign approve reject archive restore export import schedule invite block mute rate review sign
verify fetch save load reset enable disable pick pack wash cook heat cool mix cut fold press turn
lift drop push pull wrap seal label tag group rank match search query log plot draw render resize
crop encode decode compress charge refund pay bill quote lend rent buy sell trade donate plant
water feed walk train coach teach grade hire""".split()

NOUNS = """lamp door window table chair desk shelf car truck bike bus boat plane engine wheel tire
battery phone tablet laptop screen camera printer router server cable switch sensor motor pump
valve pipe tank filter fan oven stove fridge kettle cup plate bowl spoon knife bottle glass bread
cake soup salad apple pear lemon orange rice bean egg cheese butter milk coffee tea juice garden
tree flower seed leaf field farm barn horse cow sheep goat dog cat bird fish house room wall floor
roof garage kitchen office shop store market bank hotel museum library school class lesson course
exam student teacher doctor nurse patient clinic ticket trip route map road bridge station harbor
letter parcel package stamp form list report table chart graph photo video song album playlist
movie book page chapter note memo task project team member player game match score record file
folder archive backup image document contract invoice receipt payment account budget loan order
product item stock price offer coupon customer client vendor supplier partner meeting event
calendar reminder alarm timer message email comment post thread channel group user profile badge
key token session cookie job queue worker cluster node volume bucket table index query schema
model dataset metric alert dashboard ring coat shirt shoe hat glove scarf belt bag box crate
basket blanket pillow towel carpet mirror clock candle brush""".split()

ADJECTIVES = """red blue green black white grey small large tall short long wide old new fresh dry
wet hot cold warm cool fast slow loud quiet soft hard heavy light clean dirty full empty open
public private local remote daily weekly monthly urgent normal final first last next spare broken
main shared hidden active idle digital manual round flat deep thin thick sharp plain""".split()

HELD_VERBS = """polish inspect stack launch borrow deliver capture rotate sharpen publish register
calibrate summon harvest rinse illuminate dispatch transcribe knit anchor evict auction tune
brew sketch shred""".split()

HELD_NOUNS = """fiddle telescope kayak balloon ladder drone helmet compass fountain statue tunnel
orchard beehive lantern trumpet puzzle sandwich pumpkin umbrella chimney canoe turbine ferry
scooter satellite tractor wardrobe curtain rocket mosaic hammock sculpture lighthouse obelisk
trombone windmill cactus dolphin falcon glacier volcano vineyard submarine microscope aquarium
carousel sundial parachute typewriter""".split()

HELD_ADJECTIVES = """purple crimson ancient fragile mossy golden narrow curved frozen striped
wooden shiny rusty lunar velvet""".split()

PARAM_WORDS = """name title label color size width height length depth weight count amount total
price cost limit offset page level mode type kind status state priority speed power angle ratio
score rate target source origin destination owner author sender receiver address street city zone
region country code number format unit language category topic subject body text content note
comment message reason date day month year hour minute start end duration interval path folder
file extension version branch tags items colors sizes names codes parts options labels options
force verbose recursive dry_run silent public draft notify cached strict hidden""".split()

HELD_PARAM_WORDS = """altitude voltage texture flavor pitch tempo caliber quota tariff vintage
nickname slogan motif cadence density torque payload checksum glaze bevel hue shade roster
ingredients coordinates waypoints sponsors keywords pinned encrypted waterproof refundable
foldable""".split()

FIRST = """Ann Ben Carl Dana Emma Finn Gina Hugo Iris Jack Kate Liam Mia Noah Olga Paul Rosa Sam
Tina Uma Vera Will Yara Zoe Alex Maria Peter Laura David Nina Omar Priya Chen Yuki Lars Ingrid
Sofia Marco Elena Ivan""".split()
LAST = """Smith Jones Brown Miller Davis Wilson Clark Lewis Hall Young King Wright Hill Green Baker
Adams Nelson Carter Turner Parker Evans Collins Stewart Morris Rogers Reed Cook Morgan Bell
Murphy Bailey Cooper Howard Ward Cox Diaz Wood Watson Gray James""".split()
CITIES = """Paris London Berlin Madrid Rome Vienna Oslo Dublin Lisbon Athens Prague Warsaw Tokyo
Beijing Delhi Cairo Lima Quito Boston Chicago Denver Seattle Austin Dallas Toronto Sydney Perth
Munich Hamburg Milan Naples Porto Lyon Geneva Zurich Helsinki Stockholm Copenhagen Amsterdam
Brussels Istanbul Moscow Mumbai Seoul Osaka Bangkok Jakarta Nairobi Lagos""".split()
LONG_CITIES = """San Francisco;New York;Los Angeles;San Diego;Las Vegas;New Orleans;St. Louis;Salt Lake City;Mexico City;
Buenos Aires;Rio de Janeiro;Sao Paulo;Hong Kong;Kuala Lumpur;Cape Town;New Delhi;Tel Aviv;The Hague;Abu Dhabi;Santa Fe;
Quebec City;Den Haag;Ho Chi Minh City;San Jose;El Paso;Fort Worth;Kansas City;Long Beach""".replace("\n", "").split(";")
HELD_LONG_CITIES = """San Antonio;Palm Springs;Baton Rouge;New Haven;Port Louis;Santa Cruz;Puerto Montt;Addis Ababa;Rapid City;
Las Palmas;Cape Coral;Little Rock;Panama City;Bad Homburg;Monte Carlo;La Paz""".replace("\n", "").split(";")
STATES = "CA NY TX WA MA IL FL OR France Germany Italy Spain Japan India Brazil Canada".split()
LANGUAGES = "English French German Spanish Italian Dutch Polish Greek Turkish Russian Arabic Hindi Chinese Japanese Korean".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
DOMAINS = "example.com mail.net post.org acme.io corp.co test.dev".split()
EXTENSIONS = "txt md csv json py log pdf png jpg xml html yaml".split()

ONSETS = "b c d f g h j k l m n p r s t v w z br cl dr fl gr pl pr sk sl sp st tr th ch sh".split()
VOWELS = "a e i o u a e i o u ai ea oo ou".split()
CODAS = ["", "", "", "n", "r", "l", "s", "t", "m", "k", "d", "x", "nd", "rt", "st", "p"]


def is_held(word):
    """A tenth of all invented words are never trained."""
    return zlib.crc32(word.lower().encode()) % 10 == 0


class Words:
    """Draws words for one document. held=True draws only words that training never shows."""

    def __init__(self, rng, held=False, pieces=None, pseudo=0.5):
        self.rng, self.held, self.pieces, self.pseudo_share = rng, held, pieces or [], pseudo
        self.verbs = HELD_VERBS if held else VERBS
        self.nouns = HELD_NOUNS if held else NOUNS
        self.adjectives = HELD_ADJECTIVES if held else ADJECTIVES
        self.params = HELD_PARAM_WORDS if held else PARAM_WORDS

    def pseudo(self):
        """An invented word: syllables, or random vocabulary pieces so that no piece stays rare."""
        rng = self.rng
        while True:
            if self.pieces and rng.random() < 0.5:
                word = "".join(rng.choice(self.pieces) for _ in range(rng.randint(1, 3)))
            else:
                word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS)
                               for _ in range(rng.choice((1, 2, 2, 3))))
            if 3 <= len(word) <= 14 and is_held(word) == self.held:
                return word

    def _pick(self, real):
        return self.pseudo() if self.rng.random() < self.pseudo_share else self.rng.choice(real)

    def verb(self):
        return self._pick(self.verbs)

    def noun(self):
        return self._pick(self.nouns)

    def adjective(self):
        return self._pick(self.adjectives)

    def param(self):
        return self._pick(self.params)

    def any(self):
        return self._pick(self.rng.choice((self.nouns, self.adjectives, self.verbs)))
